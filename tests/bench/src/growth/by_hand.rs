//! What growth costs anyone on this machine: a hash map and the engine of the embedded store, written
//! to by hand, at the same sizes. Each figure is CPU time of this thread.

use std::collections::HashMap;
use std::error::Error;

use bytes::Bytes;
use redb::{ReadableTable as _, TableDefinition};

use crate::contender::ours::account_name;

const DOCS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
const BODY: &[u8] = b"{\"balance\":1}";
/// Documents of one transaction: as many as calls are in flight.
const AT_ONCE: u64 = super::IN_FLIGHT as u64;
const MAP_CALLS: u64 = 300_000;
const ENGINE_BATCHES: u64 = 100;

/// Reads a document and replaces it: microseconds of CPU time.
pub(super) fn map(accounts: u64) -> f64 {
    let mut documents: HashMap<Box<str>, (u64, Bytes), foldhash::fast::RandomState> =
        HashMap::default();
    for account in 0..accounts {
        let body = Bytes::copy_from_slice(BODY);
        documents.insert(format!("account:{}", account_name(account)).into(), (0, body));
    }
    let mut random = fastrand::Rng::with_seed(1);
    let keys: Vec<String> = (0..MAP_CALLS)
        .map(|_| format!("account:{}", account_name(random.u64(..accounts))))
        .collect();
    let before = cpu_seconds();
    for (number, key) in keys.iter().enumerate() {
        let (version, body) = documents.get(key.as_str()).expect("it is there");
        std::hint::black_box((version, &body[..]));
        let body = Bytes::copy_from_slice(BODY);
        let document = documents.get_mut(key.as_str()).expect("it is there");
        *document = (number as u64, body);
    }
    (cpu_seconds() - before) * 1e6 / MAP_CALLS as f64
}

/// Reads a document and writes it, in durable transactions of some: microseconds of CPU time.
pub(super) fn engine(accounts: u64) -> Result<f64, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let database = redb::Database::builder()
        .set_cache_size(64 << 20)
        .create(directory.path().join("engine"))?;
    let write = |chosen: &mut dyn Iterator<Item = u64>| -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(DOCS)?;
            let mut names: Vec<String> =
                chosen.map(|account| format!("account:{}", account_name(account))).collect();
            names.sort_unstable();
            for name in &names {
                std::hint::black_box(table.get(name.as_str())?.map(|row| row.value().len()));
                table.insert(name.as_str(), BODY)?;
            }
        }
        Ok(transaction.commit()?)
    };
    write(&mut (0..accounts))?;
    let mut random = fastrand::Rng::with_seed(1);
    let before = cpu_seconds();
    for _ in 0..ENGINE_BATCHES {
        write(&mut (0..AT_ONCE).map(|_| random.u64(..accounts)))?;
    }
    Ok((cpu_seconds() - before) * 1e6 / (ENGINE_BATCHES * AT_ONCE) as f64)
}

fn cpu_seconds() -> f64 {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9
}
