//! The writer thread: makes each generation durable with one write and one sync.
//!
//! It writes at once when it is idle, so a lone commit waits for nobody; whatever is committed
//! while a sync runs makes up the next generation. There is no timer. With
//! [`sync_where_called`](super::EmbeddedConfig::sync_where_called) a caller does the same for a lone commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::error::FailureCause;
use super::generation::{Generation, Span};
use super::log::Log;
use super::{Shared, WriteError};
use crate::store::flush::{Flush, FlushError};

/// Writes generations until the store is closed and nothing is left, or until it fails.
pub(super) fn run(shared: &Shared) {
    while let Some((generation, log)) = shared.next_generation() {
        flush_all(shared, generation, log);
    }
    shared.end_writer();
}

/// Makes a generation durable, gives the log back and wakes who waits; or closes the store for good.
pub(super) fn flush(shared: &Shared, generation: Generation, log: Log) {
    if let Some(Flushed { frame, log, permits, flush }) = make_durable(shared, generation, log) {
        shared.end_flush(frame, log);
        shared.room.add_permits(permits);
        flush.finish(Ok(()));
    }
}

/// As [`flush`], and so on with what came meanwhile, as long as the log has room for it. While there is
/// more to write, who waits is woken by one of them; at the latest after the next write by this thread.
fn flush_all(shared: &Shared, mut generation: Generation, mut log: Log) {
    let mut before: Option<Arc<Flush>> = None;
    loop {
        let made_durable = make_durable(shared, generation, log);
        if let Some(before) = before.take() {
            before.wake_rest();
        }
        let Some(Flushed { frame, log: written, permits, flush }) = made_durable else { return };
        let next = shared.end_flush_and_go_on(frame, written);
        shared.room.add_permits(permits);
        match next {
            None => return flush.finish(Ok(())),
            Some(next) => (generation, log) = next,
        }
        flush.finish_and_wake_one();
        before = Some(flush);
    }
}

/// A generation that is durable.
struct Flushed {
    /// Of no more use.
    frame: Vec<u8>,
    log: Log,
    permits: usize,
    /// Who waits for it was not told yet.
    flush: Arc<Flush>,
}

/// Writes a generation. If that fails, the store is closed, and who waits is told.
fn make_durable(shared: &Shared, generation: Generation, mut log: Log) -> Option<Flushed> {
    let Generation { mut frame, span, permits } = generation;
    let write = || write(shared, &mut log, &mut frame, &span);
    let written = catch_unwind(AssertUnwindSafe(write));
    let written = written.unwrap_or_else(|panic| {
        let cause = FailureCause::panic(&*panic);
        Err(WriteError { step: "write", may_be_written: true, cause })
    });
    if let Err(WriteError { step, may_be_written, cause }) = written
        && shared.stops_after_failure.kept()
    {
        let failure = shared.fail(step, cause);
        span.flush.finish(Err(if may_be_written {
            FlushError::Unknown(failure)
        } else {
            FlushError::NotWritten(failure)
        }));
        return None;
    }
    Some(Flushed { frame, log, permits, flush: span.flush })
}

fn write(
    shared: &Shared,
    log: &mut Log,
    frame: &mut Vec<u8>,
    span: &Span,
) -> Result<(), WriteError> {
    if log.has_room(frame.len()) {
        let appended = log.append(frame, span);
        return appended.map_err(|error| WriteError {
            step: "make the last writes durable",
            may_be_written: error.may_be_written,
            cause: FailureCause::Io(error.cause),
        });
    }
    // It is longer than a segment, so it went into the tree with all before it.
    shared.wait_for_checkpoint()?;
    log.rewind();
    Ok(())
}
