//! The engine of the embedded store without the store: the same rows, put into one transaction by
//! whoever knows all of them beforehand.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, TableDefinition};

use super::{DOCUMENT_BYTES, DOCUMENTS, Measured, Measuring, RECORD_BYTES, document_name};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const DOCS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
const RECORDS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("records");
const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");

/// What the store puts before a document, before a record, and into a session's row.
const DOCUMENT_HEAD: usize = 8;
const RECORD_HEAD: usize = 9;
const SESSION_ROW: [u8; 36] = [b's'; 36];

/// A file of the engine, filled with the documents.
pub(super) struct ByHand {
    database: Database,
    next_record: u64,
}

impl ByHand {
    pub(super) fn open(file: &Path) -> Result<ByHand, Box<dyn Error>> {
        let database = Database::builder().set_cache_size(64 << 20).create(file)?;
        let mut by_hand = ByHand { database, next_record: 1 };
        let all: Vec<u64> = (0..DOCUMENTS).collect();
        by_hand.write(&all)?;
        Ok(by_hand)
    }

    /// Makes batches of so many commits durable, one after the other, for this long.
    pub(super) fn run(&mut self, size: usize, time: Duration) -> Result<Measured, Box<dyn Error>> {
        let (mut each, mut commits) = (Vec::new(), 0);
        let mut random = fastrand::Rng::with_seed(1);
        let measuring = Measuring::begin();
        while measuring.start.elapsed() < time {
            let batch: Vec<u64> = (0..size).map(|_| random.u64(..DOCUMENTS)).collect();
            let begun = Instant::now();
            self.write(&batch)?;
            each.push(begun.elapsed());
            commits += size;
        }
        Ok(measuring.end(commits, each))
    }

    /// Makes one batch durable.
    pub(super) fn write(&mut self, batch: &[u64]) -> Result<(), Box<dyn Error>> {
        let transaction = self.database.begin_write()?;
        {
            let mut documents = transaction.open_table(DOCS)?;
            let row = [b'd'; DOCUMENT_HEAD + DOCUMENT_BYTES];
            // As the store does: by ascending key, each document once.
            let mut names: Vec<String> = batch.iter().map(|doc| document_name(*doc)).collect();
            names.sort_unstable();
            names.dedup();
            for name in &names {
                documents.insert(name.as_str(), row.as_slice())?;
            }
        }
        {
            let mut records = transaction.open_table(RECORDS)?;
            let (first, count) = (self.next_record, batch.len() as u64);
            self.next_record += count;
            // The client acknowledges a call with the next one that it makes.
            records.retain_in((1, 0)..(1, first), |_, _| false)?;
            for record in first..first + count {
                let row = [b'r'; RECORD_HEAD + RECORD_BYTES];
                records.insert((1, record), row.as_slice())?;
            }
            transaction.open_table(SESSIONS)?.insert(1, SESSION_ROW.as_slice())?;
            let mut meta = transaction.open_table(META)?;
            meta.insert("next_client", 2)?;
            meta.insert("last_lsn", self.next_record)?;
        }
        transaction.commit()?;
        Ok(())
    }
}
