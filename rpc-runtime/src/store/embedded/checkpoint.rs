//! The checkpoint thread: puts into the tree what the log holds, so that the log can start over.
//!
//! A checkpoint is one transaction of the engine (redb) with the newest state of everything that
//! changed since the last one. Nobody waits for it but who needs room in the log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Database, Durability, WriteTransaction};

use super::Shared;
use super::error::FailureCause;
use super::generation::Lsn;
use super::layout;
use super::recent::Recent;
use super::snapshot::Snapshot;
use super::state::Recorded;
use super::young::Documents;
use crate::id::{ClientId, Seq};
use crate::store::sessions::Session;

/// What one checkpoint puts into the tree.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) documents: Arc<Documents>,
    pub(super) sessions: Vec<(ClientId, SessionChange)>,
    pub(super) next_client: ClientId,
    /// The last change in it.
    pub(super) last: Lsn,
}

/// What becomes of the rows of one session.
#[derive(Debug)]
pub(super) enum SessionChange {
    /// Its row and all its records go.
    Closed,
    Changed {
        row: Vec<u8>,
        /// The records of these numbers go.
        gone: std::ops::Range<Seq>,
        /// These come, by ascending number.
        records: Vec<(Seq, Recent)>,
    },
}

impl SessionChange {
    pub(super) fn of(session: &Session<Recorded>) -> SessionChange {
        let kept = &session.kept;
        let filed = Seq(kept.filed.0.saturating_add(1));
        let records = kept.recent().map(|(seq, recent)| (seq, recent.clone()));
        SessionChange::Changed {
            row: layout::session_row(session),
            gone: kept.filed_watermark.max(Seq::FIRST)..session.watermark.min(filed),
            records: records.collect(),
        }
    }
}

/// Why a checkpoint is not in the tree, or may not be.
pub(super) struct WriteError {
    pub(super) step: &'static str,
    /// Whether the engine was told to commit: until then, nothing of the transaction can be found
    /// in the file when it is opened again.
    pub(super) may_be_written: bool,
    pub(super) cause: FailureCause,
}

/// Makes checkpoints until the store is closed or has failed.
pub(super) fn run(shared: &Shared, database: Database) {
    while let Some(batch) = shared.next_checkpoint() {
        let written = catch_unwind(AssertUnwindSafe(|| write(&database, &batch)));
        let written = written.unwrap_or_else(|panic| {
            let cause = FailureCause::panic(&*panic);
            Err(WriteError { step: "write", may_be_written: true, cause })
        });
        match written {
            Ok(snapshot) => shared.end_checkpoint(snapshot, &batch),
            Err(error) => shared.fail_checkpoint(error),
        }
    }
    if let Err(cause) = database.close() {
        tracing::warn!(place = %shared.place, %cause, "the store did not close cleanly; opening it again will repair it");
    }
}

/// Puts a batch into the tree, durably.
pub(super) fn write(database: &Database, batch: &Batch) -> Result<Snapshot, WriteError> {
    let transaction = fill(database, batch).map_err(|cause| WriteError {
        step: "write",
        may_be_written: false,
        cause: cause.into(),
    })?;
    transaction.commit().map_err(|cause| WriteError {
        step: "make the last writes durable",
        may_be_written: true,
        cause: FailureCause::engine(cause),
    })?;
    Snapshot::take(database, batch.last).map_err(|cause| WriteError {
        step: "read",
        may_be_written: true,
        cause,
    })
}

fn fill(database: &Database, batch: &Batch) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    put_documents(&transaction, &batch.documents)?;
    put_sessions(&transaction, batch)?;
    let mut meta = transaction.open_table(layout::META)?;
    meta.insert(layout::META_NEXT_CLIENT, batch.next_client.0)?;
    meta.insert(layout::META_LAST_LSN, batch.last.0)?;
    drop(meta);
    Ok(transaction)
}

// Rows go in by ascending key: neighbours share pages.

fn put_documents(transaction: &WriteTransaction, documents: &Documents) -> Result<(), redb::Error> {
    let mut documents: Vec<_> = documents.iter().collect();
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

/// Writes the rows of sessions and their new records, and removes the records that fall below a
/// watermark in the same transaction as the watermark: with the record gone but the watermark not
/// moved, an id that was executed would be new again.
fn put_sessions(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut changes: Vec<_> = batch.sessions.iter().collect();
    changes.sort_unstable_by_key(|(client, _)| *client);
    let mut sessions = transaction.open_table(layout::SESSIONS)?;
    let mut rows = transaction.open_table(layout::RECORDS)?;
    for (client, change) in changes {
        let client = client.0;
        match change {
            SessionChange::Closed => {
                sessions.remove(client)?;
                rows.retain_in((client, 0)..=(client, u64::MAX), |_, _| false)?;
            }
            SessionChange::Changed { row, gone, records } => {
                sessions.insert(client, row.as_slice())?;
                if gone.start < gone.end {
                    let gone = (client, gone.start.0)..(client, gone.end.0);
                    rows.retain_in(gone, |_, _| false)?;
                }
                for (seq, recent) in records {
                    let record = &recent.record;
                    let length = layout::record_len(record);
                    let mut row = rows.insert_reserve((client, seq.0), length)?;
                    layout::put_record(row.as_mut(), record);
                }
            }
        }
    }
    Ok(())
}
