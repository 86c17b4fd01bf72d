//! The tree, as of the last finished checkpoint.

use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::error::FailureCause;
use super::generation::Lsn;
use super::layout;
use crate::id::CallId;
use crate::store::sessions::Record;
use crate::store::{DocKey, ReadVersion, Version, Versioned};

/// A view of the file that does not change. Reads touch pages only, mostly cached ones.
///
/// One is taken after each checkpoint and shared by all readers until the next, so a read opens no
/// transaction of its own. The engine frees the pages of replaced data once the snapshot that
/// still shows them is gone, one checkpoint later.
pub(super) struct Snapshot {
    last: Lsn,
    documents: ReadOnlyTable<&'static str, &'static [u8]>,
    records: ReadOnlyTable<(u64, u64), &'static [u8]>,
}

impl Snapshot {
    /// What the database holds: all changes up to `last`.
    pub(super) fn take(database: &Database, last: Lsn) -> Result<Snapshot, FailureCause> {
        let transaction = database.begin_read().map_err(FailureCause::engine)?;
        Ok(Snapshot {
            last,
            documents: transaction.open_table(layout::DOCUMENTS).map_err(FailureCause::engine)?,
            records: transaction.open_table(layout::RECORDS).map_err(FailureCause::engine)?,
        })
    }

    /// The last change that it shows.
    pub(super) fn last(&self) -> Lsn {
        self.last
    }

    /// The document; absent at version 0 if there is none.
    pub(super) fn document(&self, key: &DocKey) -> Result<Versioned, FailureCause> {
        let found = match self.documents.get(key.as_str()).map_err(FailureCause::engine)? {
            Some(row) => layout::document(row.value())?,
            None => Versioned::new(Version(0), None),
        };
        Ok(found.of_snapshot(self.last.0))
    }

    /// Whether this read took the document from here.
    pub(super) fn is_that_of(&self, read: &ReadVersion) -> bool {
        read.snapshot() == Some(self.last.0)
    }

    /// The version of the document, if there is one.
    pub(super) fn version(&self, key: &DocKey) -> Result<Option<Version>, FailureCause> {
        match self.documents.get(key.as_str()).map_err(FailureCause::engine)? {
            Some(row) => Ok(Some(layout::document_version(row.value())?)),
            None => Ok(None),
        }
    }

    /// The record of the call.
    pub(super) fn record(&self, id: CallId) -> Result<Option<Record>, FailureCause> {
        match self.records.get((id.client.0, id.seq.0)).map_err(FailureCause::engine)? {
            Some(row) => Ok(Some(layout::record(row.value())?)),
            None => Ok(None),
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}
