//! The tree, and the thread that makes checkpoints.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase as _, TableDefinition};
use rpc::store::DocKey;

use super::Shared;
use super::log::Batch;
use super::state::State;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const DOCS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");

pub(super) struct Tree(Database);

/// The tree as of the last checkpoint.
pub(super) struct Snapshot {
    /// The last change in it.
    pub(super) last: u64,
    documents: ReadOnlyTable<&'static str, &'static [u8]>,
}

impl Snapshot {
    pub(super) fn document(
        &self,
        key: &DocKey,
    ) -> Result<(Option<u64>, Option<Bytes>), redb::Error> {
        let Some(row) = self.documents.get(key.as_str())? else { return Ok((None, None)) };
        let (version, body) = row.value().split_first_chunk().expect("as it was written");
        Ok((Some(u64::from_le_bytes(*version)), Some(Bytes::copy_from_slice(body))))
    }
}

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Tree, redb::Error> {
        let database = Database::builder().set_cache_size(64 << 20).create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(DOCS)?;
        transaction.open_table(META)?;
        transaction.commit()?;
        Ok(Tree(database))
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, redb::Error> {
        let transaction = self.0.begin_read()?;
        let last = transaction.open_table(META)?.get("last")?.map_or(0, |row| row.value());
        Ok(Snapshot { last, documents: transaction.open_table(DOCS)? })
    }

    /// Takes in what was found in the log, so that the log can start over.
    pub(super) fn take(&self, state: &mut State) -> Result<(), redb::Error> {
        let documents = state.begin_checkpoint();
        self.write(&(documents, state.active.last))?;
        state.old = None;
        state.snapshot = Arc::new(self.snapshot()?);
        Ok(())
    }

    pub(super) fn run(&self, shared: &Shared, checkpoints: &Receiver<Batch>) {
        for (documents, last) in checkpoints {
            match self.write(&(documents, last)).and_then(|()| self.snapshot()) {
                Ok(snapshot) => {
                    let mut state = shared.state.lock().expect("no panics");
                    let before = std::mem::replace(&mut state.snapshot, Arc::new(snapshot));
                    let freed = (state.old.take(), before);
                    drop(state);
                    shared.work.notify_one();
                    drop(freed);
                }
                Err(error) => {
                    shared.fail(error);
                    return;
                }
            }
        }
    }

    fn write(&self, (documents, last): &Batch) -> Result<(), redb::Error> {
        let mut documents: Vec<_> = documents.iter().collect();
        documents.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(DOCS)?;
            for (key, document) in documents {
                match &document.body {
                    Some(body) => {
                        let mut row = table.insert_reserve(key.as_str(), 8 + body.len())?;
                        let (version, rest) = row.as_mut().split_at_mut(8);
                        version.copy_from_slice(&document.version.to_le_bytes());
                        rest.copy_from_slice(body);
                    }
                    None => drop(table.remove(key.as_str())?),
                }
            }
            transaction.open_table(META)?.insert("last", last)?;
        }
        transaction.commit()?;
        Ok(())
    }
}
