//! What a request asks of the table, and what the table asks of the driver.

use super::slot::RunNumber;
use crate::id::{ArgumentHash, Attempt, Seq};
use crate::service::Kind;
use crate::store::{AbortReason, Outcome};
use crate::time::Time;

/// What one session may hold on one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLimits {
    /// Calls beyond the watermark.
    pub(crate) window: u32,
    /// Calls that run at once.
    pub(crate) max_running: usize,
    /// Bytes of kept responses. Beyond it the oldest are forgotten, which costs a retry a look-up.
    pub(crate) max_held_bytes: usize,
}

/// A request as the table sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    pub(crate) seq: Seq,
    pub(crate) attempt: Attempt,
    pub(crate) kind: Kind,
    pub(crate) hash: ArgumentHash,
    pub(crate) deadline: Time,
    pub(crate) settle: bool,
}

/// What the driver must do for a request.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Nothing: it was answered from the table, or a run that is under way will answer it.
    Handled,
    /// Run it. With the retry bit: look for its record first.
    Run(RunNumber),
    /// Record this tentative outcome of an earlier attempt, unless something is recorded already.
    Record(RunNumber, Outcome),
    /// Do not run it: find its record, or end it with an aborted one.
    Settle(RunNumber, AbortReason),
}

/// What the driver must do for a call that runs.
#[derive(Debug)]
pub(crate) enum Duty<R> {
    /// Stop the business, then end the call with an aborted record, or find how it ended.
    Abort(Seq, RunNumber, AbortReason, R),
    /// Stop the business; nobody wants the call's outcome any more.
    Forget(R),
}
