//! The writer thread: turns each generation into one transaction and one fsync.
//!
//! It writes at once when it is idle, so a lone commit waits for nobody; whatever is committed
//! while an fsync runs makes up the next generation. There is no timer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Database, Durability, WriteTransaction};

use super::Shared;
use super::error::{FailureCause, FlushError};
use super::generation::Generation;
use super::layout;
use super::snapshot::Snapshot;
use super::state::{Batch, SessionChange};
use crate::id::CallId;

/// Writes generations until the store is closed and nothing is left, or until it fails.
pub(super) fn run(shared: &Shared, database: Database) {
    while let Some(batch) = shared.next_batch() {
        let generation = Arc::clone(&batch.generation);
        let written = catch_unwind(AssertUnwindSafe(|| write(&database, &batch)));
        let written = written.unwrap_or_else(|panic| {
            Err(WriteError {
                step: "write",
                reached_commit: true,
                cause: FailureCause::panic(&*panic),
            })
        });
        match written {
            Ok(snapshot) => {
                shared.lock().end_flush(snapshot);
                shared.room.add_permits(generation.permits);
                generation.flush.finish(Ok(()));
            }
            Err(_) if !shared.stops_after_failure.kept() => {
                shared.room.add_permits(generation.permits);
                generation.flush.finish(Ok(()));
            }
            Err(WriteError { step, reached_commit, cause }) => {
                let failure = shared.fail(step, cause);
                generation.flush.finish(Err(if reached_commit {
                    FlushError::Unknown(failure)
                } else {
                    FlushError::NotWritten(failure)
                }));
            }
        }
    }
    if let Err(cause) = database.close() {
        tracing::warn!(place = %shared.place, %cause, "the store did not close cleanly; opening it again will repair it");
    }
}

/// Why a generation is not durable, or may not be.
struct WriteError {
    step: &'static str,
    /// Whether the engine was told to commit: until then, nothing of the transaction can be found
    /// in the file when it is opened again.
    reached_commit: bool,
    cause: FailureCause,
}

fn write(database: &Database, batch: &Batch) -> Result<Snapshot, WriteError> {
    let transaction = fill(database, batch).map_err(|cause| WriteError {
        step: "write",
        reached_commit: false,
        cause: cause.into(),
    })?;
    transaction.commit().map_err(|cause| WriteError {
        step: "make the last writes durable",
        reached_commit: true,
        cause: FailureCause::engine(cause),
    })?;
    Snapshot::take(database).map_err(|cause| WriteError {
        step: "read",
        reached_commit: true,
        cause,
    })
}

fn fill(database: &Database, batch: &Batch) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    put_documents(&transaction, &batch.generation)?;
    put_sessions(&transaction, batch)?;
    put_records(&transaction, batch)?;
    let mut meta = transaction.open_table(layout::META)?;
    meta.insert(layout::META_NEXT_CLIENT, batch.next_client.0)?;
    meta.insert(layout::META_LAST_LSN, batch.generation.last.0)?;
    drop(meta);
    Ok(transaction)
}

// Rows go in by ascending key: neighbours share pages.

fn put_documents(
    transaction: &WriteTransaction,
    generation: &Generation,
) -> Result<(), redb::Error> {
    let mut documents: Vec<_> = generation.documents.iter().collect();
    documents.sort_unstable_by(|a, b| a.0.cmp(b.0));
    let mut table = transaction.open_table(layout::DOCUMENTS)?;
    for (key, document) in documents {
        match &document.body {
            Some(body) => {
                let mut row = table.insert_reserve(key.as_str(), layout::document_len(body))?;
                layout::put_document(row.as_mut(), document.version, body);
            }
            None => {
                table.remove(key.as_str())?;
            }
        }
    }
    Ok(())
}

/// Writes the rows of sessions, and removes the records that fall below a watermark in the same
/// transaction as the watermark: with the record gone but the watermark not moved, an id that was
/// executed would be new again.
fn put_sessions(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut changes: Vec<_> = batch.sessions.iter().collect();
    changes.sort_unstable_by_key(|(client, _)| **client);
    let mut sessions = transaction.open_table(layout::SESSIONS)?;
    let mut records = transaction.open_table(layout::RECORDS)?;
    for (client, change) in changes {
        let client = client.0;
        match change {
            SessionChange::Closed => {
                sessions.remove(client)?;
                records.retain_in((client, 0)..=(client, u64::MAX), |_, _| false)?;
            }
            SessionChange::Changed { session, trim_from } => {
                sessions.insert(client, layout::session_row(session).as_slice())?;
                if *trim_from < session.watermark {
                    let gone = (client, trim_from.0)..(client, session.watermark.0);
                    records.retain_in(gone, |_, _| false)?;
                }
            }
        }
    }
    Ok(())
}

fn put_records(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut made: Vec<_> =
        batch.generation.records.iter().filter(|(id, _)| is_kept(batch, **id)).collect();
    made.sort_unstable_by_key(|(id, _)| **id);
    let mut table = transaction.open_table(layout::RECORDS)?;
    for (id, record) in made {
        let mut row = table.insert_reserve((id.client.0, id.seq.0), layout::record_len(record))?;
        layout::put_record(row.as_mut(), record);
    }
    Ok(())
}

/// Whether a record is still asked for after the flush that would write it.
fn is_kept(batch: &Batch, id: CallId) -> bool {
    match batch.sessions.get(&id.client) {
        None => true,
        Some(SessionChange::Closed) => false,
        Some(SessionChange::Changed { session, .. }) => id.seq >= session.watermark,
    }
}
