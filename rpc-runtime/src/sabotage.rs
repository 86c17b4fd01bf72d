//! Rules that tests can break on purpose, to show that a test notices.
//!
//! Each protocol rule that a model or a test found necessary asks [`kept`] before it acts. Without
//! the feature `sabotage` (which only the project's own tests turn on) the answer is a constant.

/// A rule of the protocol that a test can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "sabotage"), allow(unreachable_pub))]
pub enum Rule {
    /// A retry looks for the record, and joins a run that is under way, before it runs.
    LookBeforeLeap,
    /// The commit checks the id in the very state that it replaces.
    CheckIdAtCommit,
    /// A retry has the next attempt number, and with it the retry bit.
    CountAttempts,
    /// A retry has the id of the call.
    KeepIdOnRetry,
    /// A tentative outcome is recorded before a later attempt gets it.
    RecordTentativeForRetry,
    /// A run with the retry bit records its outcome even without writes.
    RecordOutcomeOfRetry,
    /// The client takes a tentative outcome only from its latest attempt.
    TentativeFromLatestOnly,
    /// The client takes `IN_PROGRESS` as a sign of life.
    InProgressIsLife,
    /// A call that is no longer pending drops its responses.
    DropDuplicateResponses,
    /// A response is matched to its call by sequence number.
    MatchBySeq,
    /// The server keeps a response until it is acknowledged.
    KeepUntilAcked,
    /// An acknowledged id is answered `Stale`.
    StaleAfterAck,
    /// The watermark stops at the first incomplete call.
    AckUpToGap,
    /// At the deadline the server ends the call by a record.
    AbortAtDeadline,
    /// A later incarnation fences the earlier one.
    FenceIncarnations,
    /// The argument hash is compared.
    CompareHash,
    /// A refusal speaks only for its attempt.
    RefusalForItsAttempt,
    /// A dropped call is cancelled and settled.
    SettleDropped,
    /// Two time-outs make an endpoint suspect, and calls go to another.
    SuspectEndpoint,
}

#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub(crate) fn kept(_: Rule) -> bool {
    true
}

#[cfg(feature = "sabotage")]
pub(crate) use switch::kept;

#[cfg(feature = "sabotage")]
pub use switch::Broken;

#[cfg(feature = "sabotage")]
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
