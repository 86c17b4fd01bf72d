//! What a configuration consists of: calls, budgets of faults, and at most one seeded bug.

use super::state::{Body, Budget, CALLS, CLIENTS, DOCS, EMPTY, RUNS, View};

/// A world to exhaust.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What it is for, in one line.
    pub(super) about: &'static str,
    /// Whether it belongs to the reduced set that is exhausted at every change.
    pub(super) reduced: bool,
    pub(super) docs: [Body; DOCS],
    pub(super) calls: &'static [CallPlan],
    pub(super) faults: Budget,
    /// Leases are checked, end, and what they kept is collected.
    pub(super) sessions: bool,
    /// A client comes back after a crash between its first attempt and its second.
    pub(super) incarnations: bool,
    /// The rule that is broken.
    pub(super) bug: Option<Bug>,
}

/// A call, the same for every attempt. The age of calls is their order in the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallPlan {
    pub(super) client: u8,
    pub(super) seq: u8,
    pub(super) anchor: u8,
    /// What the business reads, in its order.
    pub(super) reads: &'static [u8],
    pub(super) writes: &'static [Effect],
    pub(super) refuses: Refuses,
    /// It is not sent before this call is over.
    pub(super) after: Option<u8>,
    pub(super) attempts: u8,
    /// From this attempt on the client only wants the call settled. `0`: never.
    pub(super) settle_from: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Put(u8),
    Delete(u8),
}

/// When the business returns an error.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refuses {
    Never,
    /// Another call has taken part in this document: its money is gone.
    IfTouched(u8),
    /// No call has taken part in this document: there is no money yet.
    IfUntouched(u8),
    IfThere(u8),
    IfAbsent(u8),
}

/// A rule of the protocol that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A retry is run like a first attempt: no look-up, and no record without writes.
    RetryBitIgnored,
    /// The client takes a tentative outcome from any attempt.
    TentativeFromOldAttempt,
    /// A retry's outcome without writes is not recorded.
    ErrorOfRetryNotRecorded,
    /// The commit does not look for the id in the state that it replaces.
    CommitWithoutIdCheck,
    /// A writer removes an undecided stage without fencing its run.
    StageRemovedWithoutDeciding,
    /// A run takes its stages back by a blind write of what it had read.
    RollBackWithoutCas,
    /// Acknowledged records go, but the watermark is not kept.
    TrimmingWithoutWatermark,
    /// To-do lists are cleared by whoever writes the anchor next, unseen.
    ToDoListClearedUnseen,
    /// Documents that were only read are not staged.
    NoGuard,
    /// A run commits over an anchor that carries another run's stage.
    ForeignStageOnAnchorIgnored,
    /// After an ambiguous commit the run takes its stages back and starts over.
    RestartAfterAmbiguousCommit,
    /// The CAS of the anchor is read again after the stages are placed.
    AnchorCasRefreshed,
    /// An aborted record carries the token of the run that it ends.
    AbortedRecordWithToken,
    /// An empty document is removed although it holds entries.
    EmptyDocumentCollectedEarly,
    /// A stage whose anchor has no record counts as lost.
    UndecidedTakenForLost,
    /// Records of a session are collected while its lease lasts.
    CollectedBeforeLeaseIsOver,
    /// The lease is not checked again between reading the anchor and writing it.
    LeaseNotRechecked,
    /// Any record without a token counts as the one that this run wrote.
    AnyTokenlessRecordIsOurs,
    /// A mismatch that follows an ambiguous answer counts as failure.
    MismatchAfterDoubtIsFailure,
    /// All runs of a call have one token.
    TokenReused,
    /// A reader takes the old body without looking whether the stage is still there.
    ReadNotRepeated,
    /// What was read together is not compared again.
    NotConfirmed,
    /// The comparison does not look whether a lost stage is still there.
    LostStageNotSeenAgain,
    /// Nobody looks at to-do lists at or above the watermark of a session that is over.
    DeadSessionStaysPinned,
    /// Every call has the right of way over every other, and none waits for the winner.
    NoRightOfWay,
    /// A call that has lost a document leaves no wish on it.
    NoWish,
    /// A fence on an absent anchor leaves no entry.
    FenceLeavesNoEntry,
    /// A stage over absence is written again after an ambiguous answer.
    LateStageTriedAgain,
    /// A stage over an absent anchor counts as lost as soon as there is one.
    PresenceTakenForLoss,
    /// Wishes do not tell the attempts of a call apart.
    AttemptsShareAPlace,
    /// The client acknowledges up to its last complete call, past one that is not.
    AckPastGap,
    /// A refusal of the latest attempt ends the call.
    RefusalSpeaksForAll,
    /// A tentative outcome in a server's table is given to a later attempt.
    TentativeForLaterAttempt,
    /// A later attempt that has joined a run gets its tentative outcome.
    TentativeForJoinedAttempt,
    /// A client with a journal sends a call that the journal does not have yet.
    SentBeforeWrittenDown,
    /// It tells and acknowledges an outcome that the journal does not have yet.
    ToldBeforeWrittenDown,
    /// The next life of a client sends its open calls as if for the first time.
    AttemptsStartAnew,
    /// The next life of a client gives its calls numbers that were used.
    NumbersStartAnew,
    /// A wish on an absent document goes when the stage that created it is taken back.
    WishGoesWithDocument,
}

pub(super) const ONE_WAY: CallPlan = CallPlan {
    client: 0,
    seq: 1,
    anchor: 0,
    reads: &[0, 1],
    writes: &[Effect::Put(0), Effect::Put(1)],
    refuses: Refuses::Never,
    after: None,
    attempts: 2,
    settle_from: 0,
};

pub(super) const NO_FAULTS: Budget = Budget {
    crashes: 0,
    ambiguous: 0,
    late: 0,
    early: 0,
    lost: 0,
    unavailable: 0,
    deadlines: 0,
    leases: 0,
};

impl Config {
    /// The same world with a rule left out.
    pub(super) fn with(self, bug: Bug) -> Config {
        Config { bug: Some(bug), ..self }
    }
}

impl CallPlan {
    pub(super) fn writes_to(&self, doc: u8) -> Option<Effect> {
        self.writes.iter().copied().find(|effect| effect.doc() == doc)
    }

    /// Documents beside the anchor that a run stages.
    pub(super) fn others(&self, guards: bool) -> impl Iterator<Item = u8> + '_ {
        (0..DOCS as u8).filter(move |doc| {
            let is_read = guards && self.reads.contains(doc);
            *doc != self.anchor && (is_read || self.writes_to(*doc).is_some())
        })
    }

    /// Whether the business returns `Ok` on what it has read.
    pub(super) fn accepts(&self, view: &View) -> bool {
        let seen = |doc: u8| view[usize::from(doc)];
        match self.refuses {
            Refuses::Never => true,
            Refuses::IfTouched(doc) => seen(doc) <= EMPTY,
            Refuses::IfUntouched(doc) => seen(doc) > EMPTY,
            Refuses::IfThere(doc) => seen(doc) == 0,
            Refuses::IfAbsent(doc) => seen(doc) != 0,
        }
    }
}

impl Effect {
    pub(super) fn doc(self) -> u8 {
        match self {
            Effect::Put(doc) | Effect::Delete(doc) => doc,
        }
    }
}

/// Where the runs of a configuration are.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    /// By slot: the call, and the attempt from 1.
    pub(super) runs: Vec<(u8, u8)>,
}

impl Slots {
    pub(super) fn of(config: &Config) -> Slots {
        assert!(config.calls.len() <= CALLS, "{}: too many calls", config.name);
        assert!(config.calls.iter().all(|call| usize::from(call.client) < CLIENTS));
        let runs: Vec<_> = (0u8..)
            .zip(config.calls)
            .flat_map(|(number, call)| (1..=call.attempts).map(move |attempt| (number, attempt)))
            .collect();
        assert!(runs.len() <= RUNS, "{}: too many attempts", config.name);
        Slots { runs }
    }
}
