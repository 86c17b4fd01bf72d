//! The bugs: each a rule that is broken, and where its code is.

use rpc::testing::Rule;

/// A deliberate bug.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// The rule that is broken.
    pub rule: Rule,
    /// What the product then does.
    pub about: &'static str,
    /// Where the rule is kept.
    pub code: &'static [Code],
    /// The bug of the model that is the same one.
    pub model: Option<&'static str>,
}

/// A part of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The client's state machine.
    Client,
    /// The server's tables and its dispatch.
    Server,
    /// What the stores of one process share, and the memory store.
    Local,
    /// The embedded store.
    Embedded,
    /// The compare-and-swap store.
    Cas,
}

use Code::{Cas, Client, Embedded, Local, Server};

/// Rules whose breaking costs time, memory or messages, and no guarantee. Their scenarios watch them;
/// nothing else can.
pub const MANNERS: [Rule; 7] = [
    Rule::AcksHitchhike,
    Rule::KeepUntilAcked,
    Rule::ProbeSuspects,
    Rule::RetryBudget,
    Rule::SuspectEndpoint,
    Rule::TellClientsToMove,
    Rule::Window,
];

const fn bug(
    name: &'static str,
    rule: Rule,
    code: &'static [Code],
    model: Option<&'static str>,
    about: &'static str,
) -> Bug {
    Bug { name, rule, about, code, model }
}

/// All of them. Names stay what they are: reports refer to them.
#[rustfmt::skip]
pub const BUGS: &[Bug] = &[
    // Ids and attempts.
    bug("retry-bit-ignored", Rule::LookBeforeLeap, &[Server], Some("retry-bit-ignored"),
        "a retry runs without looking for its record"),
    bug("retry-without-bit", Rule::CountAttempts, &[Client], None,
        "a re-send looks like the first send"),
    bug("new-id-on-retry", Rule::KeepIdOnRetry, &[Client], None,
        "a re-send draws a new id"),
    bug("client-id-reused", Rule::NeverReuseClientIds, &[Embedded, Cas], None,
        "client ids start anew after a restart, and in every process"),
    bug("no-argument-hash", Rule::CompareHash, &[Server, Local, Embedded, Cas], None,
        "an id is answered whatever its arguments are"),
    bug("identity-from-the-frame", Rule::IdentityOfPeer, &[Local, Embedded, Cas], None,
        "a session is whoever's names it, without its identity and secret"),
    bug("earlier-life-not-fenced", Rule::FenceIncarnations, &[Local, Embedded, Cas], None,
        "what an earlier life of a client left on the wire still runs"),
    bug("sent-before-written-down", Rule::JournalBeforeSend, &[Client],
        Some("sent-before-written-down"),
        "a client with a journal sends a call that its journal does not have yet"),
    bug("told-before-written-down", Rule::JournalBeforeAck, &[Client],
        Some("told-before-written-down"),
        "a client with a journal tells and acknowledges an outcome that its journal does not have yet"),
    bug("attempts-start-anew", Rule::AttemptAboveEarlierLives, &[Client],
        Some("attempts-start-anew"),
        "the next life of a client sends its open calls as if for the first time"),
    bug("numbers-start-anew", Rule::NumberAboveEarlierLives, &[Client],
        Some("numbers-start-anew"),
        "the next life of a client gives its calls numbers that were used"),
    bug("response-by-order", Rule::MatchBySeq, &[Client], None,
        "a response is given to the oldest call"),
    bug("duplicate-response-taken", Rule::DropDuplicateResponses, &[Client], None,
        "a response to a call that is over is given to another"),
    // Outcomes.
    bug("tentative-from-old-attempt", Rule::TentativeFromLatestOnly, &[Client],
        Some("tentative-from-old-attempt"),
        "a business error of an old attempt is believed"),
    bug("error-of-retry-not-recorded", Rule::RecordOutcomeOfRetry, &[Server],
        Some("error-of-retry-not-recorded"),
        "a business error on a retry is answered and not recorded"),
    bug("tentative-given-to-retry", Rule::RecordTentativeForRetry, &[Server], None,
        "a retry gets the unrecorded outcome of an earlier attempt"),
    bug("refusal-for-all-attempts", Rule::RefusalForItsAttempt, &[Client], None,
        "one refused attempt means that none was executed"),
    bug("in-progress-ignored", Rule::InProgressIsLife, &[Client], None,
        "a server that says that it is busy is taken for dead"),
    bug("no-abort-at-deadline", Rule::AbortAtDeadline, &[Client, Server], None,
        "a call that never ends is left to itself"),
    // Acknowledgements and what is kept.
    bug("ack-before-answer", Rule::AckOnlyAnswered, &[Client], None,
        "calls are acknowledged that were not answered yet"),
    bug("ack-past-a-gap", Rule::AckUpToGap, &[Client], None,
        "the watermark jumps over a call that is not over"),
    bug("dropped-call-acknowledged", Rule::SettleDropped, &[Client], None,
        "a dropped call is acknowledged before anyone knows how it ended"),
    bug("dropped-answer-keeps-its-place", Rule::FreeDropped, &[Client], None,
        "a call that is dropped with its answer keeps its place for ever"),
    bug("record-collected-early", Rule::KeepRecordsUntilAcked, &[Local, Cas], None,
        "the next call of a client takes the place of its record"),
    bug("collected-id-runs-again", Rule::StaleAfterAck, &[Local, Embedded, Cas],
        Some("trimming-without-watermark"),
        "an id whose record is gone is new again"),
    // The commit.
    bug("no-id-check-at-commit", Rule::CheckIdAtCommit, &[Local, Embedded, Cas],
        Some("commit-without-id-check"),
        "a commit does not look for the id in the state that it replaces"),
    bug("record-before-effect", Rule::RecordNotBefore, &[Cas], None,
        "the record is written, and then the effect"),
    bug("record-after-effect", Rule::RecordNotAfter, &[Cas], None,
        "the effect is written, and then the record"),
    bug("blind-record", Rule::CommitOverWhatWasRead, &[Cas], None,
        "the anchor is written over whatever is there"),
    bug("anchor-cas-refreshed", Rule::AnchorReadOnce, &[Cas], Some("anchor-cas-refreshed"),
        "the anchor is read again once the stages are placed"),
    bug("stale-read-reused", Rule::CompareReads, &[Local, Embedded, Cas], None,
        "a commit writes what follows from an old read"),
    bug("no-guard", Rule::Guard, &[Cas], Some("no-guard"),
        "what is only read may change until the commit"),
    bug("one-leg-only", Rule::AllLegs, &[Local, Embedded, Cas], None,
        "only one document of a commit is written"),
    bug("reads-not-confirmed", Rule::ConfirmReads, &[Server], Some("not-confirmed"),
        "what was read together is not compared again"),
    // The store's answers.
    bug("mismatch-is-success", Rule::MismatchIsLoss, &[Cas], None,
        "who finds another state has written"),
    bug("doubt-is-failure", Rule::DoubtIsNoFailure, &[Cas], Some("restart-after-ambiguous-commit"),
        "what may have been written was not"),
    bug("doubt-is-success", Rule::DoubtIsNoSuccess, &[Cas], None,
        "what may have been written was"),
    // Stages.
    bug("finished-leg-replayed", Rule::LegOnce, &[Cas], None,
        "a stage becomes a body although somebody has done that"),
    bug("stage-removed-without-fence", Rule::FenceBeforeRemoval, &[Cas],
        Some("stage-removed-without-deciding"),
        "an undecided stage is removed, and its run may still commit"),
    bug("token-reused", Rule::TokenPerRun, &[Cas], Some("token-reused"),
        "all runs of a call have one token"),
    bug("aborted-record-with-token", Rule::AbortedWithoutToken, &[Cas],
        Some("aborted-record-with-token"),
        "an aborted record carries the token of the run that it ends"),
    bug("to-do-list-cleared-unseen", Rule::ClearToDoSeen, &[Cas],
        Some("to-do-list-cleared-unseen"),
        "nobody remembers where stages may still stand"),
    bug("empty-document-collected", Rule::KeepEmptyDocuments, &[Cas],
        Some("empty-document-collected-early"),
        "a document that is none is removed with what it remembers"),
    bug("lease-not-rechecked", Rule::RecheckSession, &[Cas], Some("lease-not-rechecked"),
        "a session may end between the reading of the anchor and the commit"),
    // Durability.
    bug("acknowledged-before-sync", Rule::WaitForSync, &[Embedded], None,
        "a commit is answered before it is durable"),
    bug("on-after-failed-sync", Rule::StopAfterFailedSync, &[Embedded], None,
        "a sync that failed is taken for one that did not"),
];
