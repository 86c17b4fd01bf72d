//! The rules that can be left out, and the configurations that show it.

use super::plan::Bug;

/// A rule left out, where that shows.
#[derive(Clone, Copy, Debug)]
pub struct SeededBug {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is left out, in words.
    pub about: &'static str,
    /// The configuration that shows it.
    pub config: &'static str,
    pub(super) bug: Bug,
}

/// All seeded bugs. Names stay what they are: reports refer to them.
#[must_use]
pub fn seeded_bugs() -> Vec<SeededBug> {
    BUGS.iter()
        .map(|(bug, name, config, about)| SeededBug { name, about, config, bug: *bug })
        .collect()
}

/// The seeded bug of this name.
#[must_use]
pub fn bug_named(name: &str) -> Option<SeededBug> {
    seeded_bugs().into_iter().find(|bug| bug.name == name)
}

/// The rule, its name, the configuration, what is left out.
type Row = (Bug, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const BUGS: &[Row] = &[
    (Bug::RetryBitIgnored, "retry-bit-ignored", "own-effect",
        "the retry bit is ignored"),
    (Bug::TentativeFromOldAttempt, "tentative-from-old-attempt", "own-effect",
        "a tentative outcome of an old attempt is taken"),
    (Bug::ErrorOfRetryNotRecorded, "error-of-retry-not-recorded", "errors",
        "a business error on a retry is not recorded"),
    (Bug::CommitWithoutIdCheck, "commit-without-id-check", "retries",
        "the commit does not look for the id in the state that it replaces"),
    (Bug::StageRemovedWithoutDeciding, "stage-removed-without-deciding", "opposite",
        "an undecided stage is removed without fencing its run"),
    (Bug::UndecidedTakenForLost, "undecided-taken-for-lost", "retries",
        "a stage whose anchor has no record counts as lost"),
    (Bug::RollBackWithoutCas, "roll-back-without-cas", "contended-target",
        "stages are taken back by a blind write"),
    (Bug::TrimmingWithoutWatermark, "trimming-without-watermark", "watermarks",
        "acknowledged records go, and the watermark is not kept"),
    (Bug::ToDoListClearedUnseen, "to-do-list-cleared-unseen", "watermarks",
        "to-do lists are cleared by whoever writes the anchor next"),
    (Bug::NoGuard, "no-guard", "guards",
        "what is only read is not guarded"),
    (Bug::ForeignStageOnAnchorIgnored, "foreign-stage-on-anchor-ignored", "contended-target",
        "a foreign stage on the anchor is ignored"),
    (Bug::RestartAfterAmbiguousCommit, "restart-after-ambiguous-commit", "retries",
        "a run starts over after an ambiguous commit"),
    (Bug::MismatchAfterDoubtIsFailure, "mismatch-after-doubt-is-failure", "retries",
        "a mismatch after an ambiguous answer counts as failure"),
    (Bug::AnyTokenlessRecordIsOurs, "any-tokenless-record-is-ours", "two-errors",
        "any record without a token is taken for the own one"),
    (Bug::AnchorCasRefreshed, "anchor-cas-refreshed", "contended-anchor",
        "the CAS of the anchor is read again after staging"),
    (Bug::AbortedRecordWithToken, "aborted-record-with-token", "aborts",
        "an aborted record carries the token of the run that it ends"),
    (Bug::TokenReused, "token-reused", "contended-anchor",
        "all runs of a call have one token"),
    (Bug::EmptyDocumentCollectedEarly, "empty-document-collected-early", "leases-absent-anchor",
        "an empty document is removed although it holds entries"),
    (Bug::FenceLeavesNoEntry, "fence-leaves-no-entry", "absent-anchor",
        "a fence on an absent anchor leaves no entry"),
    (Bug::LateStageTriedAgain, "late-stage-tried-again", "created",
        "a stage over absence is written again after an ambiguous answer"),
    (Bug::WishGoesWithDocument, "wish-goes-with-document", "absent-anchor",
        "a wish on an absent document goes with the stage that created it"),
    (Bug::AttemptsShareAPlace, "attempts-share-a-place", "three-attempts",
        "wishes do not tell the attempts of a call apart"),
    (Bug::PresenceTakenForLoss, "presence-taken-for-loss", "absent-anchor-guarded",
        "a run that found no anchor counts as lost as soon as there is one"),
    (Bug::AckPastGap, "ack-past-gap", "calls-hedged",
        "the client acknowledges past a call that is not complete"),
    (Bug::RefusalSpeaksForAll, "refusal-speaks-for-all", "calls-every-fault",
        "a refusal of the latest attempt ends the call"),
    (Bug::TentativeForLaterAttempt, "tentative-for-later-attempt", "calls-late-answers",
        "a tentative outcome in a server's table is given to a later attempt"),
    (Bug::TentativeForJoinedAttempt, "tentative-for-joined-attempt", "calls-late-answers",
        "a later attempt that has joined a run gets its tentative outcome"),
    (Bug::SentBeforeWrittenDown, "sent-before-written-down", "journal",
        "a call is sent before the journal has it"),
    (Bug::ToldBeforeWrittenDown, "told-before-written-down", "journal",
        "an outcome is told and acknowledged before the journal has it"),
    (Bug::AttemptsStartAnew, "attempts-start-anew", "journal",
        "the next life sends open calls as if for the first time"),
    (Bug::NumbersStartAnew, "numbers-start-anew", "journal",
        "the next life gives its calls numbers that were used"),
    (Bug::CollectedBeforeLeaseIsOver, "collected-before-lease-is-over", "leases",
        "records are collected while the lease lasts"),
    (Bug::LeaseNotRechecked, "lease-not-rechecked", "leases-unread-anchor",
        "the lease is not looked at again after the anchor was read"),
    (Bug::DeadSessionStaysPinned, "dead-session-stays-pinned", "leases",
        "nobody looks at the last to-do lists of an ended session"),
    (Bug::ReadNotRepeated, "read-not-repeated", "leases-reader",
        "a reader does not look whether the undecided stage is still there"),
    (Bug::NotConfirmed, "not-confirmed", "view",
        "what was read together is not compared again"),
    (Bug::LostStageNotSeenAgain, "lost-stage-not-seen-again", "view",
        "the comparison trusts a lost stage that may be gone"),
    (Bug::NoWish, "no-wish", "opposite",
        "who loses an anchor leaves no wish"),
    (Bug::NoRightOfWay, "no-right-of-way", "opposite",
        "nobody has the right of way"),
];
