//! The rules of the protocol that a test can break, to show that it would notice.
//!
//! Whoever keeps one of these rules asks [`kept`] before it acts. Without the feature `test-util`,
//! which only this project's tests turn on, the answer is a constant.

/// A rule of the protocol that a test can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Rules of a store are asked for only where that store is built.
#[cfg_attr(not(feature = "test-util"), allow(unreachable_pub, dead_code))]
pub enum Rule {
    /// A retry looks for the call's record before it runs.
    LookBeforeLeap,
    /// The commit checks the id in the very state that it replaces.
    CheckIdAtCommit,
    /// A re-send has the next attempt number, and with it the retry bit.
    CountAttempts,
    /// A tentative outcome is recorded before a later attempt gets it.
    RecordTentativeForRetry,
    /// A run with the retry bit records its outcome even without writes.
    RecordOutcomeOfRetry,
    /// The client takes a tentative outcome only from its latest attempt.
    TentativeFromLatestOnly,
    /// What was read together is compared again before it is answered.
    ConfirmReads,
    /// `IN_PROGRESS` is a sign of life, and no time-out.
    InProgressIsLife,
    /// A response to a call that is not pending is dropped.
    DropDuplicateResponses,
    /// A response is matched to its call by its number.
    MatchBySeq,
    /// A server keeps a response until it is acknowledged.
    KeepUntilAcked,
    /// An id below the watermark is never executed.
    StaleAfterAck,
    /// The watermark stops at the first incomplete call.
    AckUpToGap,
    /// Acknowledgements travel with requests.
    AcksHitchhike,
    /// At its deadline a call is ended by a record.
    AbortAtDeadline,
    /// A later incarnation fences the earlier one.
    FenceIncarnations,
    /// One id has one set of arguments.
    CompareHash,
    /// A refusal speaks only for its attempt.
    RefusalForItsAttempt,
    /// A dropped call stays incomplete until it is settled.
    SettleDropped,
    /// The place of a dropped call is free again once the call is over.
    FreeDropped,
    /// Two time-outs make a server suspect, and its calls go to another.
    SuspectEndpoint,
    /// A suspect server is probed, so that it comes back.
    ProbeSuspects,
    /// Re-sends spend a budget.
    RetryBudget,
    /// No more calls are in flight than the window allows.
    Window,
    /// A server that is being shut down tells its clients to move on.
    TellClientsToMove,
    /// A re-send has the id of the first send.
    KeepIdOnRetry,
    /// Only calls whose outcome has come are acknowledged.
    AckOnlyAnswered,
    /// A session is gone on with only by the identity, and with the secret, that it was opened with.
    IdentityOfPeer,
    /// A client id is never given out again.
    NeverReuseClientIds,
    /// The record is not written before the effect, but with it.
    RecordNotBefore,
    /// The record is not written after the effect, but with it.
    RecordNotAfter,
    /// A commit replaces the very state of the anchor that its run has read.
    CommitOverWhatWasRead,
    /// The anchor is not read again once there are stages.
    AnchorReadOnce,
    /// Who finds another state than it has read has not written.
    MismatchIsLoss,
    /// What may have been written is not taken for not written.
    DoubtIsNoFailure,
    /// What may have been written is not taken for written.
    DoubtIsNoSuccess,
    /// What a run has read is compared when it commits.
    CompareReads,
    /// All documents of a commit are written.
    AllLegs,
    /// A stage becomes a body only where it still stands.
    LegOnce,
    /// An undecided run is fenced before its stage is removed.
    FenceBeforeRemoval,
    /// Every run has a token of its own.
    TokenPerRun,
    /// An aborted record carries no token.
    AbortedWithoutToken,
    /// A record stays until its call is acknowledged.
    KeepRecordsUntilAcked,
    /// A document that is none stays for as long as it must remember something.
    KeepEmptyDocuments,
    /// A document leaves a to-do list only once it was seen without the stage.
    ClearToDoSeen,
    /// What is read and not written is held in place by a guard.
    Guard,
    /// A session is looked at again after the anchor was read.
    RecheckSession,
    /// A commit is answered once its sync is over.
    WaitForSync,
    /// After a failed sync the store answers nothing more.
    StopAfterFailedSync,
    /// A call is written down before it is sent.
    JournalBeforeSend,
    /// An outcome is written down before it is told and acknowledged.
    JournalBeforeAck,
    /// The attempts of a client's next life are above those of the earlier.
    AttemptAboveEarlierLives,
    /// The calls of a client's next life have numbers above those of the earlier.
    NumberAboveEarlierLives,
}

/// Whether a rule was kept when something was made that goes on in another thread.
#[cfg(feature = "embedded")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured {
    #[cfg(feature = "test-util")]
    kept: bool,
}

#[cfg(feature = "embedded")]
impl Captured {
    /// Asks now.
    #[cfg_attr(not(feature = "test-util"), allow(unused_variables))]
    pub(crate) fn of(rule: Rule) -> Captured {
        Captured {
            #[cfg(feature = "test-util")]
            kept: kept(rule),
        }
    }

    /// What was the answer.
    pub(crate) fn kept(self) -> bool {
        #[cfg(feature = "test-util")]
        let kept = self.kept;
        #[cfg(not(feature = "test-util"))]
        let kept = true;
        kept
    }
}

#[cfg(not(feature = "test-util"))]
#[inline(always)]
pub(crate) fn kept(_: Rule) -> bool {
    true
}

#[cfg(feature = "test-util")]
pub use switch::Broken;
#[cfg(feature = "test-util")]
pub(crate) use switch::kept;

#[cfg(feature = "test-util")]
mod switch {
    use std::cell::RefCell;

    use super::Rule;

    thread_local! {
        static BROKEN: RefCell<Vec<Rule>> = const { RefCell::new(Vec::new()) };
    }

    /// Breaks a rule on this thread until it is dropped.
    #[derive(Debug)]
    #[must_use = "the rule is whole again when this is dropped"]
    pub struct Broken(Rule);

    impl Broken {
        /// Breaks `rule` on this thread.
        pub fn rule(rule: Rule) -> Broken {
            BROKEN.with_borrow_mut(|broken| broken.push(rule));
            Broken(rule)
        }
    }

    impl Drop for Broken {
        fn drop(&mut self) {
            BROKEN.with_borrow_mut(|broken| broken.retain(|rule| *rule != self.0));
        }
    }

    pub(crate) fn kept(rule: Rule) -> bool {
        BROKEN.with_borrow(|broken| !broken.contains(&rule))
    }
}
