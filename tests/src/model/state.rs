//! The world: documents with their metadata, runs on servers, clients, and what is true.
//!
//! Small values in fixed arrays, so that millions of states fit. There are no version numbers: of a
//! CAS value only one thing matters, whether it still names the document's present state, since a
//! state that is gone never comes back. Absence is the exception, and is modelled as one: it comes
//! back.

use std::cmp::Reverse;
use std::hash::{Hash, Hasher};

use super::run::{Run, Step};

/// Documents, calls, clients, runs and servers that a configuration can have.
pub(super) const DOCS: usize = 3;
pub(super) const CALLS: usize = 3;
pub(super) const CLIENTS: usize = 2;
pub(super) const RUNS: usize = 4;
pub(super) const SERVERS: usize = 3;

/// A document's content: the calls that took part in it, oldest first, as octal digits behind a
/// leading one. `0`: there is no document.
pub(super) type Body = u16;
/// A document that no call has touched.
pub(super) const EMPTY: Body = 1;
/// What a run has read of each document.
pub(super) type View = [Body; DOCS];

/// The unique name of one run of the business: the slot of its attempt, and a number that nothing
/// else in the world carries with it.
pub(super) type Token = u8;
/// A token that no run has.
pub(super) const NO_TOKEN: Token = u8::MAX;

/// A set of documents, calls or attempts.
pub(super) type Set = u8;

/// A CAS value that somebody holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Cas {
    #[default]
    Unread,
    /// There was no document.
    Absent,
    /// The present state of the document.
    Current,
    /// A state that is gone.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// With what the run read: two runs that read differently return differently.
    Success(View),
    BusinessError(View),
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) outcome: Outcome,
    pub(super) token: Option<Token>,
    pub(super) to_do: Set,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// The document knows of this client.
    pub(super) known: bool,
    pub(super) incarnation: u8,
    pub(super) watermark: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Guard,
    Put(Body),
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stage {
    pub(super) anchor: u8,
    /// The state of the anchor that the run read.
    pub(super) anchor_cas: Cas,
    pub(super) client: u8,
    pub(super) call: u8,
    pub(super) attempt: u8,
    pub(super) token: Token,
    pub(super) change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fence {
    pub(super) token: Token,
    /// The call that it was made for.
    pub(super) winner: u8,
}

/// A run's place in the order of conflicts: the older call, then the later attempt of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) call: u8,
    pub(super) attempt: Reverse<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Doc {
    /// The store has something under this key; if not, all else is empty.
    pub(super) there: bool,
    pub(super) body: Body,
    pub(super) entries: [Entry; CLIENTS],
    pub(super) records: [Option<Record>; CALLS],
    pub(super) stage: Option<Stage>,
    pub(super) fence: Option<Fence>,
    /// The first in the order of conflicts of those that want the document and have lost it.
    pub(super) wish: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Won,
    Lost,
    Undecided,
}

/// What is to be done with a stage whose run is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Clear {
    Forward,
    /// Lost, and its call will run again: the document is left to it.
    Back,
    /// Lost, and its owner most likely dead.
    Abandoned,
}

/// A conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Write {
    pub(super) doc: u8,
    pub(super) over: Cas,
    pub(super) op: Op,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Stage(Stage),
    /// The record of the run in this slot; `body` is what becomes of the anchor itself.
    Commit {
        slot: u8,
        record: Record,
        body: Option<Body>,
    },
    Clear {
        token: Token,
        how: Clear,
    },
    Wish {
        place: Place,
    },
    /// Against a run of the call `loser`.
    Fence {
        fence: Fence,
        loser: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Never {
    Stale,
    Fenced,
    SessionClosed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Committed(Outcome),
    Tentative(Outcome),
    Refused,
    Never(Never),
}

/// What a client was told of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Told {
    Committed(Outcome),
    Tentative(Outcome),
    NotExecuted,
    /// Its session is over: unknown for ever.
    SessionLost,
    /// A call that it never acknowledged is said to be acknowledged.
    Stale,
    /// Its latest life is said to be over.
    Fenced,
}

/// A call as its client knows it, and what has really become of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) sent: u8,
    pub(super) refused: u8,
    pub(super) told: Option<Told>,
    pub(super) applied: u8,
    pub(super) recorded: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LeaseState {
    #[default]
    Lasts,
    Ended,
    /// Ended, the session closed, and the margin over.
    Over,
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Servers that crash, with all runs on them.
    pub crashes: u8,
    /// Writes whose answer leaves open whether they were done.
    pub ambiguous: u8,
    /// Of those, writes that the store gets to at any later time.
    pub late: u8,
    /// Sends of a call whose earlier attempt is not dead: a time-out, or a hedge.
    pub early: u8,
    /// Responses that get lost.
    pub lost: u8,
    /// Writes that the store refuses.
    pub unavailable: u8,
    /// Runs that are stopped at their deadline, or cancelled.
    pub deadlines: u8,
    /// Leases that end.
    pub leases: u8,
}

/// What was found to be broken in the very step that broke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    /// A commit rests on something that was not true when it took effect.
    StaleCommit,
    /// A record decides about another run's stage.
    ForeignStageDecided,
    /// An outcome without writes rests on a state that never was.
    TornOutcome,
    /// Two attempts have two committed outcomes.
    TwoOutcomes,
}

/// The one that collects what need not be remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Janitor {
    /// The document that it looks after, in the state that it has read.
    pub(super) at: Option<(u8, Cas)>,
    pub(super) cleared: Set,
    pub(super) over: Set,
}

/// All there is in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(super) docs: [Doc; DOCS],
    pub(super) runs: [Run; RUNS],
    pub(super) calls: [Call; CALLS],
    pub(super) leases: [LeaseState; CLIENTS],
    /// By server: calls whose stages it has itself made bodies.
    pub(super) cleared: [Set; SERVERS],
    pub(super) janitor: Janitor,
    pub(super) left: Budget,
    /// What the documents hold, as one atomic step per commit makes it.
    pub(super) truth: View,
    pub(super) broken: Option<Broken>,
}

impl Hash for Doc {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Doc { there, body, entries, records, stage, fence, wish } = self;
        there.hash(state);
        if *there {
            (body, entries, records, stage, fence, wish).hash(state);
        } else {
            debug_assert_eq!(*self, Doc::default(), "there is nothing");
        }
    }
}

impl Doc {
    pub(super) fn cas(&self) -> Cas {
        if self.there { Cas::Current } else { Cas::Absent }
    }

    /// Whether a run of this client that read this state may still commit over it. Absence comes
    /// back, unless an entry of the client keeps it away.
    pub(super) fn may_be_as_read(&self, read: Cas, client: u8) -> bool {
        match read {
            Cas::Absent => !self.entries[usize::from(client)].known,
            read => read == self.cas(),
        }
    }

    /// Whether it can be removed: it is no document, and nothing must be remembered.
    pub(super) fn is_void(&self) -> bool {
        let knows_nobody = self.entries.iter().all(|entry| !entry.known);
        self.body == 0 && self.stage.is_none() && self.wish.is_none() && knows_nobody
    }
}

impl Stage {
    /// What its call wants if the run has lost.
    pub(super) fn place(&self, shared: bool) -> Place {
        Place { call: self.call, attempt: Reverse(if shared { 0 } else { self.attempt }) }
    }

    /// What becomes of the body when the stage has won.
    pub(super) fn body_after(&self, body: Body) -> Body {
        match self.change {
            Change::Guard => body,
            Change::Put(put) => put,
            Change::Delete => 0,
        }
    }
}

impl State {
    /// What the anchor of a stage says of its run.
    pub(super) fn fate_of(&self, stage: &Stage) -> Fate {
        let anchor = &self.docs[usize::from(stage.anchor)];
        let record = anchor.records[usize::from(stage.call)];
        if record.is_some_and(|record| record.token == Some(stage.token)) {
            Fate::Won
        } else if anchor.may_be_as_read(stage.anchor_cas, stage.client) {
            Fate::Undecided
        } else {
            Fate::Lost
        }
    }

    /// What a document holds for whoever keeps to the rules of reading.
    pub(super) fn effective(&self, doc: usize) -> Body {
        let found = &self.docs[doc];
        match &found.stage {
            Some(stage) if self.fate_of(stage) == Fate::Won => stage.body_after(found.body),
            _ => found.body,
        }
    }

    /// The document is in a new state: all CAS values of it that somebody holds are of the past.
    pub(super) fn touch(&mut self, doc: u8) {
        let age = |cas: &mut Cas| {
            if *cas == Cas::Current {
                *cas = Cas::Gone;
            }
        };
        let age_op = |op: &mut Op| match op {
            Op::Stage(stage) if stage.anchor == doc => age(&mut stage.anchor_cas),
            _ => {}
        };
        for run in &mut self.runs {
            age(&mut run.cas[usize::from(doc)]);
            if let Some(obstacle) = run.obstacle.as_mut().filter(|found| found.anchor == doc) {
                age(&mut obstacle.cas);
                age(&mut obstacle.anchor_cas);
            }
            if matches!(run.step, Step::ConfirmAsk(at) | Step::ConfirmAgain(at) if at == doc) {
                age(&mut run.seen_again);
            }
            if let Some(late) = &mut run.late {
                age_op(&mut late.op);
                if late.doc == doc {
                    age(&mut late.over);
                }
            }
        }
        for found in &mut self.docs {
            if let Some(stage) = found.stage.as_mut().filter(|stage| stage.anchor == doc) {
                age(&mut stage.anchor_cas);
            }
        }
        if let Some((_, cas)) = self.janitor.at.as_mut().filter(|(at, _)| *at == doc) {
            age(cas);
        }
    }
}

pub(super) fn append(body: Body, call: usize) -> Body {
    // A body that has lost its digits would look like another: the model has no more room.
    let body = if body == 0 { EMPTY } else { body };
    if body >= 1 << 12 { body } else { body << 3 | (call as Body + 1) }
}

/// The calls in a body, oldest first.
pub(super) fn calls_in(body: Body) -> impl Iterator<Item = usize> {
    let digits = (0..4).rev().map(move |place| body >> (3 * place));
    digits.filter(|rest| *rest > 1).map(|rest| usize::from(rest & 7) - 1)
}

pub(super) fn has(set: Set, member: u8) -> bool {
    set & 1 << member != 0
}

pub(super) fn members(set: Set) -> impl Iterator<Item = u8> {
    (0..8).filter(move |member| has(set, *member))
}
