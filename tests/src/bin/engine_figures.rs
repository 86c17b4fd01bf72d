//! What made the choice of the embedded store's engine: the same batches on redb and on fjall, and
//! what group commit makes of it.
//!
//! ```text
//! cargo run --release -p rpc-tests --features engine-figures --bin engine_figures -- DIRECTORY
//! ```
//!
//! The directory must lie on the disk that is to be measured, not in memory. Prints a table; the
//! figures in `docs/embedded-store.md` come from it.
//!
//! One *commit* is what a transfer writes: 2 of 10,000 documents of 200 bytes, one record of 100
//! bytes, and the removal of the record made 1,024 commits before.

use std::error::Error;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::TableDefinition;
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use rpc::store::{CommitOutcome, DocKey, Store};
use rpc_tests::conformance::{Caller, Draft, key, success};

type Failure = Box<dyn Error + Send + Sync>;

const DOCUMENTS: u64 = 10_000;
const DOCUMENT: [u8; 200] = [b'd'; 200];
const RECORD: [u8; 100] = [b'r'; 100];
/// How many records stay before their removal.
const KEPT: u64 = 1_024;
const SIZES: [u64; 3] = [1, 64, 1_024];
const TIME_EACH: Duration = Duration::from_secs(3);

fn main() -> Result<(), Failure> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err("name a directory on the disk to measure: engine_figures DIRECTORY".into());
    };
    let place = Place::make(Path::new(&directory))?;
    println!(
        "One fdatasync after writing 4 KiB in place: {:?} (median)\n",
        bare_sync(&place.path("sync"))?
    );
    println!("| what | commits per fsync | commits/s | per fsync, median |");
    println!("| --- | ---: | ---: | ---: |");
    for size in SIZES {
        report("redb, by hand", size, &batches(Redb::open(&place.path("redb"))?, size)?);
        report("fjall, by hand", size, &batches(Fjall::open(&place.path("fjall"))?, size)?);
    }
    println!("\n| what | at once | commits/s | per commit, median |");
    println!("| --- | ---: | ---: | ---: |");
    for size in SIZES {
        report("EmbeddedStore", size, &committers(&place.path("store"), size)?);
    }
    Ok(())
}

fn report(what: &str, size: u64, figures: &Figures) {
    println!("| {what} | {size} | {:.0} | {:?} |", figures.per_second, figures.median);
    let _ = std::io::stdout().flush();
}

struct Figures {
    per_second: f64,
    median: Duration,
}

impl Figures {
    fn of(commits: u64, elapsed: Duration, mut each: Vec<Duration>) -> Figures {
        each.sort_unstable();
        let median = each.get(each.len() / 2).copied().unwrap_or_default();
        Figures { per_second: commits as f64 / elapsed.as_secs_f64(), median }
    }
}

/// A directory that goes when the program ends.
struct Place(PathBuf);

impl Place {
    fn make(directory: &Path) -> Result<Place, Failure> {
        let place = directory.join(format!("engine-figures-{}", std::process::id()));
        std::fs::create_dir_all(&place)?;
        Ok(Place(place))
    }

    /// A name that has not been used before.
    fn path(&self, name: &str) -> PathBuf {
        let taken = std::fs::read_dir(&self.0).map_or(0, Iterator::count);
        self.0.join(format!("{name}-{taken}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bare_sync(path: &Path) -> Result<Duration, Failure> {
    let file = std::fs::File::create(path)?;
    file.write_all_at(&[0; 1 << 20], 0)?;
    file.sync_all()?;
    let mut each = Vec::new();
    for round in 0..200_u64 {
        let began = Instant::now();
        file.write_all_at(&[round as u8; 4096], (round % 256) * 4096)?;
        file.sync_data()?;
        each.push(began.elapsed());
    }
    Ok(Figures::of(200, Duration::from_secs(1), each).median)
}

/// What the comparison needs of an engine.
trait Engine {
    /// Makes one batch durable: the two documents of each commit, its record's number to insert,
    /// and the one to remove.
    fn write(&mut self, batch: &[([u64; 2], u64, Option<u64>)]) -> Result<(), Failure>;
}

fn batches(mut engine: impl Engine, size: u64) -> Result<Figures, Failure> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % DOCUMENTS
    };
    let load: Vec<_> = (0..DOCUMENTS / 2).map(|n| ([2 * n, 2 * n + 1], n, None)).collect();
    engine.write(&load)?;
    let (mut record, mut each) = (DOCUMENTS, Vec::new());
    let began = Instant::now();
    while began.elapsed() < TIME_EACH {
        let batch: Vec<_> =
            (0..size).map(|n| ([draw(), draw()], record + n, Some(record + n - KEPT))).collect();
        record += size;
        let flush = Instant::now();
        engine.write(&batch)?;
        each.push(flush.elapsed());
    }
    Ok(Figures::of(record - DOCUMENTS, began.elapsed(), each))
}

struct Redb(redb::Database);

const DOCS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
const RECORDS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("records");

impl Redb {
    fn open(path: &Path) -> Result<Redb, Failure> {
        Ok(Redb(redb::Database::builder().set_cache_size(64 << 20).create(path)?))
    }
}

impl Engine for Redb {
    fn write(&mut self, batch: &[([u64; 2], u64, Option<u64>)]) -> Result<(), Failure> {
        let transaction = self.0.begin_write()?;
        {
            let mut documents = transaction.open_table(DOCS)?;
            let mut records = transaction.open_table(RECORDS)?;
            for (docs, insert, remove) in batch {
                for doc in docs {
                    documents.insert(name(*doc).as_str(), DOCUMENT.as_slice())?;
                }
                records.insert((1, *insert), RECORD.as_slice())?;
                if let Some(remove) = remove {
                    records.remove((1, *remove))?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

struct Fjall {
    database: fjall::Database,
    documents: fjall::Keyspace,
    records: fjall::Keyspace,
}

impl Fjall {
    fn open(path: &Path) -> Result<Fjall, Failure> {
        let database = fjall::Database::builder(path).cache_size(64 << 20).open()?;
        let documents = database.keyspace("documents", fjall::KeyspaceCreateOptions::default)?;
        let records = database.keyspace("records", fjall::KeyspaceCreateOptions::default)?;
        Ok(Fjall { database, documents, records })
    }
}

impl Engine for Fjall {
    fn write(&mut self, batch: &[([u64; 2], u64, Option<u64>)]) -> Result<(), Failure> {
        let mut write = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for (docs, insert, remove) in batch {
            for doc in docs {
                write.insert(&self.documents, name(*doc), DOCUMENT.as_slice());
            }
            write.insert(&self.records, record_key(*insert), RECORD.as_slice());
            if let Some(remove) = remove {
                write.remove(&self.records, record_key(*remove));
            }
        }
        write.commit()?;
        Ok(())
    }
}

fn name(document: u64) -> String {
    format!("account:{document:08}")
}

fn record_key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[7] = 1;
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// This many callers, each with one commit in the air at a time, on the whole store: sessions,
/// versions, records and all.
fn committers(path: &Path, count: u64) -> Result<Figures, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(path, EmbeddedConfig::default())?);
    let figures = runtime.block_on(async {
        load(&*store).await?;
        let began = Instant::now();
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..count {
            callers.spawn(call_until(Arc::clone(&store), number, began + TIME_EACH));
        }
        let mut each = Vec::new();
        for done in callers.join_all().await {
            each.extend(done?);
        }
        Ok(Figures::of(each.len() as u64, began.elapsed(), each))
    });
    drop(store);
    figures
}

async fn load(store: &dyn Store) -> Result<(), Failure> {
    let caller = Caller::open(store).await;
    let commits = (0..DOCUMENTS / 50).map(|batch| {
        let draft = (batch * 50..(batch + 1) * 50)
            .fold(caller.commit(batch + 1), |draft, doc| draft.putting(&document(doc), DOCUMENT));
        store.commit(draft)
    });
    for commit in commits {
        commit.await?;
    }
    Ok(())
}

async fn call_until(
    store: Arc<dyn Store>,
    number: u64,
    end: Instant,
) -> Result<Vec<Duration>, Failure> {
    let caller = Caller::open(&*store).await;
    let mut each = Vec::new();
    let mut random = number * 2 + 1;
    let mut seq = 0;
    while Instant::now() < end {
        seq += 1;
        let began = Instant::now();
        loop {
            let mut draft = caller.acknowledging_below(seq).commit(seq).ending(success(&RECORD));
            for _ in 0..2 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number | 1);
                let doc = document((random >> 33) % DOCUMENTS);
                let seen = store.read(&doc).await?;
                if draft.writes.iter().all(|write| write.key != doc) {
                    draft = draft.reading(&doc, &seen).putting(&doc, DOCUMENT);
                }
            }
            match store.commit(draft).await? {
                CommitOutcome::Committed(_) => break,
                CommitOutcome::Conflict => {}
                other => return Err(format!("a new call is applied, not {other:?}").into()),
            }
        }
        each.push(began.elapsed());
    }
    Ok(each)
}

fn document(number: u64) -> DocKey {
    key(&name(number))
}
