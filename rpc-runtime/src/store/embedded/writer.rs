//! The writer thread: makes each generation durable with one write and one sync.
//!
//! It writes at once when it is idle, so a lone commit waits for nobody; whatever is committed
//! while a sync runs makes up the next generation. There is no timer. With
//! [`sync_where_called`](super::EmbeddedConfig::sync_where_called) a caller does the same for a lone commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::FailureCause;
use super::generation::{Generation, Span};
use super::log::Log;
use super::{Shared, WriteError};
use crate::store::flush::FlushError;

/// Writes generations until the store is closed and nothing is left, or until it fails.
pub(super) fn run(shared: &Shared) {
    while let Some((generation, log)) = shared.next_generation() {
        flush(shared, generation, log);
    }
    shared.end_writer();
}

/// Makes a generation durable, gives the log back and wakes who waits; or closes the store for good.
pub(super) fn flush(shared: &Shared, generation: Generation, mut log: Log) {
    let Generation { mut frame, span, permits } = generation;
    let write = || write(shared, &mut log, &mut frame, &span);
    let written = catch_unwind(AssertUnwindSafe(write));
    let written = written.unwrap_or_else(|panic| {
        let cause = FailureCause::panic(&*panic);
        Err(WriteError { step: "write", may_be_written: true, cause })
    });
    match written {
        Ok(()) => shared.end_flush(frame, log),
        Err(_) if !shared.stops_after_failure.kept() => shared.end_flush(frame, log),
        Err(WriteError { step, may_be_written, cause }) => {
            let failure = shared.fail(step, cause);
            span.flush.finish(Err(if may_be_written {
                FlushError::Unknown(failure)
            } else {
                FlushError::NotWritten(failure)
            }));
            return;
        }
    }
    shared.room.add_permits(permits);
    span.flush.finish(Ok(()));
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
