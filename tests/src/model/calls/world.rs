//! The world: calls, tables, messages, the store.

use super::super::state::Set;
use super::CallsConfig;
use super::journal::Journal;

/// Calls at most.
pub(super) const NAMES: usize = 2;
/// Their numbers at most: each has one of its own, and one that was not executed may be made anew.
pub(super) const CALLS: usize = 3;
pub(super) const SERVERS: usize = 2;
/// Attempts of a call whose messages have a place, over all lives of the client.
pub(super) const PLACES: usize = 6;
/// The same in one life, where there is more than one.
pub(super) const PLACES_OF_A_LIFE: u8 = 2;

/// What may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Messages that get lost.
    pub lost: u8,
    /// Sends of a call whose earlier attempt is not dead: a time-out, or a hedge.
    pub early: u8,
    /// Callers that drop or cancel their call.
    pub drops: u8,
    /// Deadlines that pass on a server.
    pub deadlines: u8,
    /// Servers that crash.
    pub crashes: u8,
    /// Responses that a server forgets.
    pub forgets: u8,
    /// Requests that a server refuses.
    pub refusals: u8,
    /// Commits of which the store does not say how they ended.
    pub unknown: u8,
    /// Times that the client crashes, and comes back with its journal.
    pub client_crashes: u8,
    /// Names that their callers forget: no fault, but nobody has to.
    pub forgotten_names: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Success,
    Error,
    Aborted,
}

/// What a client was told of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Told {
    Success,
    Error,
    NotExecuted,
    /// A call that it never acknowledged is said to be acknowledged.
    Stale,
    /// A later life is said to have begun.
    Fenced,
}

/// What the client's present life knows of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Call {
    /// Which call has the number: its own one, unless there is a journal.
    pub(super) name: u8,
    /// The latest attempt; `earlier_lives`, if this life has sent none.
    pub(super) sent: u8,
    /// Attempts above this one are this life's.
    pub(super) earlier_lives: u8,
    /// Where the latest attempt went.
    pub(super) server: u8,
    pub(super) told: Option<Told>,
    /// Its caller is gone: it is only to be settled.
    pub(super) settle: bool,
    pub(super) refused: Set,
    /// A cancellation is on its way to this server.
    pub(super) cancel: Option<u8>,
    /// How it has ended, which is not written down yet.
    pub(super) ending: Option<Told>,
    /// An earlier life had it, and nothing is to be kept of it.
    pub(super) gone: bool,
}

/// All calls below are complete, and those of the bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ack {
    pub(super) watermark: u8,
    pub(super) bitmap: Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    Request {
        server: u8,
        settle: bool,
        ack: Ack,
        life: u8,
        attempt: u8,
        name: u8,
    },
    Committed(Outcome),
    /// A business error that is recorded nowhere.
    Tentative,
    Stale,
    Fenced,
    Refused,
    /// How it ended is not known there.
    Unknown,
}

/// The next step of what a server does for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    LookUp,
    Read,
    /// The business has read this, and returned.
    Commit {
        funds: bool,
    },
    Record(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub(super) step: Step,
    pub(super) name: u8,
    pub(super) run_attempt: u8,
    pub(super) latest: u8,
    pub(super) watermark: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    #[default]
    Vacant,
    Acked,
    Running(Running),
    /// `None`: a business error that is recorded nowhere; it belongs to this attempt.
    Done {
        committed: Option<Outcome>,
        attempt: u8,
    },
}

/// The commit of a run that was stopped, on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stray {
    pub(super) step: Step,
    pub(super) name: u8,
    pub(super) life: u8,
    pub(super) watermark: u8,
    /// The server that sent it still knows of it.
    pub(super) known: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Server {
    /// Which life of the client the table is for. Lives count from 0: the incarnation less 1.
    pub(super) life: u8,
    pub(super) base: u8,
    pub(super) slots: [Slot; CALLS],
    pub(super) strays: [Option<Stray>; CALLS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Store {
    /// The deposit has been made.
    pub(super) funds: bool,
    /// And a call has taken it.
    pub(super) spent: bool,
    /// The latest life that has said hello.
    pub(super) life: u8,
    pub(super) watermark: u8,
    /// By number.
    pub(super) records: [Option<Outcome>; CALLS],
    /// What has really become of the calls, by name.
    pub(super) applied: [u8; NAMES],
}

/// What a run asks of the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) call: u8,
    pub(super) name: u8,
    pub(super) life: u8,
    pub(super) watermark: u8,
}

/// All there is in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) calls: [Call; CALLS],
    pub(super) servers: [Server; SERVERS],
    /// By number and attempt: its request, then its response. An attempt has its [place](World::place).
    pub(super) messages: [[Option<Message>; PLACES]; CALLS],
    pub(super) store: Store,
    pub(super) journal: Option<Journal>,
    pub(super) left: Faults,
}

/// What the store says to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    Recorded(Outcome),
    Stale,
    Fenced,
    Conflict,
}

impl Faults {
    pub(super) const NONE: Faults = Faults {
        lost: 0,
        early: 0,
        drops: 0,
        deadlines: 0,
        crashes: 0,
        forgets: 0,
        refusals: 0,
        unknown: 0,
        client_crashes: 0,
        forgotten_names: 0,
    };
}

impl World {
    pub(super) fn new(model: &CallsConfig) -> World {
        let mut calls = [Call::default(); CALLS];
        if !model.journal {
            (0..).zip(calls.iter_mut().take(NAMES)).for_each(|(name, call)| call.name = name);
        }
        World {
            calls,
            servers: Default::default(),
            messages: Default::default(),
            store: Store::default(),
            journal: model.journal.then(Journal::default),
            left: model.faults,
        }
    }

    /// Where the messages of an attempt are that the present life has sent.
    pub(super) fn place(&self, call: u8, attempt: u8) -> u8 {
        let of_this_life = attempt - self.calls[usize::from(call)].earlier_lives;
        self.life() * PLACES_OF_A_LIFE + of_this_life - 1
    }

    /// The attempt that has this place, which is one of the present life's.
    pub(super) fn attempt_at(&self, call: u8, place: u8) -> u8 {
        let of_this_life = place - self.life() * PLACES_OF_A_LIFE + 1;
        self.calls[usize::from(call)].earlier_lives + of_this_life
    }

    pub(super) fn message(&mut self, call: u8, place: u8) -> &mut Option<Message> {
        &mut self.messages[usize::from(call)][usize::from(place)]
    }

    /// A server's answer to the latest attempt that it knows. The connections of earlier lives are no
    /// more, and whoever knows the end of a call looks at no answer.
    pub(super) fn respond(&mut self, server: u8, call: u8, attempt: u8, message: Message) {
        let life = self.servers[usize::from(server)].life;
        let known = &self.calls[usize::from(call)];
        if life == self.life() && known.is_open() {
            let place = self.place(call, attempt);
            *self.message(call, place) = Some(message);
        }
    }

    pub(super) fn slot(&mut self, server: u8, call: u8) -> &mut Slot {
        &mut self.servers[usize::from(server)].slots[usize::from(call)]
    }

    /// What cannot matter any more.
    pub(super) fn wipe(&mut self, model: &CallsConfig) {
        for (call, known) in self.calls.iter_mut().enumerate() {
            if !known.is_open() {
                (known.refused, known.settle, known.server) = (0, false, 0);
                for message in &mut self.messages[call] {
                    message.take_if(|message| !matches!(message, Message::Request { .. }));
                }
            }
        }
        for server in &mut self.servers {
            for call in 0..usize::from(server.base).min(CALLS) {
                server.slots[call] = Slot::Vacant;
            }
        }
        if model.merges {
            self.wipe_earlier_lives();
        }
    }

    /// Whether an attempt may come to nothing: there is another one to come.
    pub(super) fn is_expendable(&self, model: &CallsConfig, call: u8, attempt: u8) -> bool {
        let known = &self.calls[usize::from(call)];
        !known.is_open() || known.sent_in_this_life() < model.attempts || attempt < known.sent
    }
}

impl Call {
    /// Its end is not known to the client.
    pub(super) fn is_open(&self) -> bool {
        self.told.is_none() && self.ending.is_none() && !self.gone
    }

    pub(super) fn sent_in_this_life(&self) -> u8 {
        self.sent - self.earlier_lives
    }
}

impl Store {
    pub(super) fn has_funds(&self) -> bool {
        self.funds && !self.spent
    }

    pub(super) fn look_up(&self, asked: Asked) -> Option<Committed> {
        if asked.life < self.life {
            return Some(Committed::Fenced);
        }
        match self.records[usize::from(asked.call)] {
            Some(outcome) => Some(Committed::Recorded(outcome)),
            None if asked.call < self.watermark.max(asked.watermark) => Some(Committed::Stale),
            None => None,
        }
    }

    /// Checks the id, compares what was read, applies and records, in one step.
    pub(super) fn commit(&mut self, model: &CallsConfig, asked: Asked, step: Step) -> Committed {
        if let Some(known) = self.look_up(asked) {
            return known;
        }
        let name = usize::from(asked.name);
        let needs_funds = model.needs_funds[name];
        let outcome = match step {
            Step::Commit { funds } if funds != self.has_funds() => return Committed::Conflict,
            Step::Commit { funds } if funds || !needs_funds => Outcome::Success,
            Step::Commit { .. } => Outcome::Error,
            Step::Record(outcome) => outcome,
            Step::LookUp | Step::Read => unreachable!("only a commit is committed"),
        };
        self.watermark = self.watermark.max(asked.watermark);
        if outcome == Outcome::Success {
            self.applied[name] += 1;
            self.spent |= model.spends && needs_funds;
        }
        self.records[usize::from(asked.call)] = Some(outcome);
        for below in 0..usize::from(self.watermark).min(CALLS) {
            self.records[below] = None;
        }
        Committed::Recorded(outcome)
    }
}
