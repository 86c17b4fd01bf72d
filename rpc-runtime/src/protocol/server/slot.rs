//! The states of one call on a server.
//!
//! ```text
//!            request                     committed / tentative
//!   Vacant ──────────▶ Running(Business) ─────────────────────▶ Done ──ack──▶ (gone)
//!                        │      │ tentative, but a later attempt joined    │
//!               deadline,│      └──────▶ Running(Recording) ───committed──▶│
//!        cancel, settle  └─────────────▶ Running(Aborting)  ───committed──▶│
//! ```
//!
//! A refusal makes the slot as good as vacant again: it was an answer to one attempt only, and only that
//! attempt is still refused should it come once more.

use crate::id::{ArgumentHash, Attempt};
use crate::service::Kind;
use crate::store::{Committed, Encoded, Outcome, Refusal};
use crate::time::Time;
use crate::wire::response::{RefusalReason, Status};

/// One call in the table. `R` is what the driver keeps for a running call.
#[derive(Debug)]
pub(super) enum Slot<R> {
    /// Nothing is known of it here.
    Vacant,
    /// Not run here: attempts up to this one were refused, and stay refused should they come twice,
    /// since their client may have taken the refusal for the end of the call. A later one may run.
    Refused(RefusalReason, Attempt),
    /// Acknowledged, above the watermark: never run again.
    Acked,
    /// Business pending.
    Running(Running<R>),
    /// Response ack pending.
    Done(Done),
}

#[derive(Debug)]
pub(super) struct Running<R> {
    pub(super) hash: ArgumentHash,
    pub(super) kind: Kind,
    pub(super) stage: Stage,
    pub(super) run: RunNumber,
    /// The attempt that the run was started for.
    pub(super) run_attempt: Attempt,
    /// The latest attempt that asked for it; the answer goes to that one.
    pub(super) latest: Attempt,
    pub(super) received: Time,
    pub(super) deadline: Time,
    /// Boxed, since few runs outlive the wake-up that begins them, and every slot has room for it.
    pub(super) handle: Option<Box<R>>,
}

/// Names one thing that is done for a call (a run of its business, a recording, an abort), so that
/// the late end of an earlier one is never taken for the end of the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunNumber(u64);

impl RunNumber {
    pub(super) const FIRST: RunNumber = RunNumber(1);

    pub(super) fn next(self) -> RunNumber {
        RunNumber(self.0 + 1)
    }
}

/// What is being done for a running call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The business runs, or its commit does.
    Business,
    /// A tentative outcome is being recorded, since a later attempt asked.
    Recording,
    /// An aborted record is being written.
    Aborting,
}

#[derive(Debug)]
pub(super) struct Done {
    pub(super) hash: ArgumentHash,
    pub(super) kind: Kind,
    pub(super) committed: bool,
    /// The attempt that a tentative outcome belongs to.
    pub(super) attempt: Attempt,
    pub(super) status: Status,
    pub(super) payload: Payload,
}

/// The encoded value or error of an outcome.
// Its tag is a word, so that it is moved by words.
#[derive(Clone, Debug)]
#[repr(usize)]
pub(crate) enum Payload {
    /// Shared with the store's record.
    Shared(Encoded),
    /// In a buffer that goes back to the table's pool.
    Owned(Vec<u8>),
}

/// How one run, recording or abort of a call ended.
// As for [`Payload`].
#[derive(Debug)]
#[repr(usize)]
pub(crate) enum Answer {
    /// The store holds this outcome under the call's id, since just now.
    Committed(Committed<Outcome>),
    /// The store held this outcome under the call's id already.
    Recorded(Committed<Outcome>),
    /// Nothing was recorded: a read, or a first attempt that ended without writes.
    Tentative(Status, Payload),
    /// This attempt was not run.
    Refused(RefusalReason, String),
    /// The id is never run.
    Never(Refusal),
    /// The store did not say.
    Unknown(String),
}

/// No bytes.
impl Default for Payload {
    fn default() -> Payload {
        Payload::Owned(Vec::new())
    }
}

impl Payload {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Payload::Shared(bytes) => bytes,
            Payload::Owned(bytes) => bytes,
        }
    }

    pub(crate) fn into_encoded(self) -> Encoded {
        match self {
            Payload::Shared(bytes) => bytes,
            Payload::Owned(bytes) => bytes.into(),
        }
    }
}

/// A tentative outcome as it is recorded.
pub(super) fn recordable(status: Status, payload: Payload) -> Outcome {
    match status {
        Status::BusinessError => Outcome::BusinessError(payload.into_encoded()),
        _ => Outcome::Success(payload.into_encoded()),
    }
}

/// How a recorded outcome travels.
pub(super) fn committed_parts(outcome: Committed<Outcome>) -> (Status, Payload) {
    match outcome.into_inner() {
        Outcome::Success(value) => (Status::Success, Payload::Shared(value)),
        Outcome::BusinessError(error) => (Status::BusinessError, Payload::Shared(error)),
        Outcome::Aborted(reason) => (Status::Aborted(reason), Payload::Shared(Encoded::empty())),
    }
}
