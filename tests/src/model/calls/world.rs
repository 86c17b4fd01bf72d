//! The world: calls, tables, messages, the store.

use super::super::plan::Bug;
use super::super::state::Set;
use super::CallsConfig;

pub(super) const CALLS: usize = 2;
pub(super) const SERVERS: usize = 2;
/// Attempts of a call at most.
pub(super) const ATTEMPTS: usize = 3;

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
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) sent: u8,
    /// Where the latest attempt went.
    pub(super) server: u8,
    pub(super) told: Option<Told>,
    /// Its caller is gone: it is only to be settled.
    pub(super) settle: bool,
    pub(super) refused: Set,
    /// A cancellation is on its way to this server.
    pub(super) cancel: Option<u8>,
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
    },
    Committed(Outcome),
    /// A business error that is recorded nowhere.
    Tentative,
    Stale,
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
    pub(super) watermark: u8,
    /// The server that sent it still knows of it.
    pub(super) known: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) base: u8,
    pub(super) slots: [Slot; CALLS],
    pub(super) strays: [Option<Stray>; CALLS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Store {
    pub(super) funds: bool,
    pub(super) watermark: u8,
    pub(super) records: [Option<Outcome>; CALLS],
    /// What has really become of the calls.
    pub(super) applied: [u8; CALLS],
}

/// All there is in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) calls: [Call; CALLS],
    pub(super) servers: [Server; SERVERS],
    /// By call and attempt: its request, then its response.
    pub(super) messages: [[Option<Message>; ATTEMPTS]; CALLS],
    pub(super) store: Store,
    pub(super) left: Faults,
}

/// What the store says to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    Recorded(Outcome),
    Stale,
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
    };
}

impl World {
    pub(super) fn new(left: Faults) -> World {
        World {
            calls: Default::default(),
            servers: Default::default(),
            messages: Default::default(),
            store: Store::default(),
            left,
        }
    }

    pub(super) fn message(&mut self, call: u8, attempt: u8) -> &mut Option<Message> {
        &mut self.messages[usize::from(call)][usize::from(attempt) - 1]
    }

    pub(super) fn slot(&mut self, server: u8, call: u8) -> &mut Slot {
        &mut self.servers[usize::from(server)].slots[usize::from(call)]
    }

    /// What cannot matter any more.
    pub(super) fn wipe(&mut self) {
        for (call, known) in self.calls.iter_mut().enumerate() {
            if known.told.is_some() {
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
    }

    pub(super) fn told_the_truth(&self) -> bool {
        self.calls.iter().zip(self.store.applied).all(|(call, applied)| match call.told {
            None => true,
            Some(Told::Success) => applied == 1,
            Some(Told::Error | Told::NotExecuted) => applied == 0,
            Some(Told::Stale) => false,
        })
    }

    /// Whether an attempt may come to nothing: there is another one to come.
    pub(super) fn is_expendable(&self, model: &CallsConfig, call: u8, attempt: u8) -> bool {
        let known = &self.calls[usize::from(call)];
        known.told.is_some() || known.sent < model.attempts || attempt < known.sent
    }
}

impl Store {
    pub(super) fn look_up(&self, call: u8, watermark: u8) -> Option<Committed> {
        match self.records[usize::from(call)] {
            Some(outcome) => Some(Committed::Recorded(outcome)),
            None if call < self.watermark.max(watermark) => Some(Committed::Stale),
            None => None,
        }
    }

    /// Checks the id, compares what was read, applies and records, in one step.
    pub(super) fn commit(
        &mut self,
        needs_funds: bool,
        call: u8,
        watermark: u8,
        step: Step,
    ) -> Committed {
        if let Some(known) = self.look_up(call, watermark) {
            return known;
        }
        let outcome = match step {
            Step::Commit { funds } if funds != self.funds => return Committed::Conflict,
            Step::Commit { funds } if funds || !needs_funds => Outcome::Success,
            Step::Commit { .. } => Outcome::Error,
            Step::Record(outcome) => outcome,
            Step::LookUp | Step::Read => unreachable!("only a commit is committed"),
        };
        self.watermark = self.watermark.max(watermark);
        self.applied[usize::from(call)] += u8::from(outcome == Outcome::Success);
        self.records[usize::from(call)] = Some(outcome);
        for below in 0..usize::from(self.watermark).min(CALLS) {
            self.records[below] = None;
        }
        Committed::Recorded(outcome)
    }
}

impl World {
    /// What the client acknowledges now.
    pub(super) fn ack(&self, model: &CallsConfig) -> Ack {
        let open = |call: &Call| call.told.is_none();
        let complete = |from: usize| {
            let told = self.calls.iter().enumerate().skip(from).filter(|(_, call)| !open(call));
            told.fold(0, |set, (number, _)| set | 1 << number)
        };
        let first = self.calls.iter().position(open).unwrap_or(CALLS);
        let last = self.calls.iter().rposition(|call| !open(call)).map_or(0, |last| last + 1);
        let watermark = if model.has_bug(Bug::AckPastGap) { last } else { first };
        Ack { watermark: watermark as u8, bitmap: complete(first) }
    }
}
