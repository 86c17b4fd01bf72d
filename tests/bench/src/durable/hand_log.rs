//! Group commit written by hand for documents alone: the same write without ids. It has what the
//! store has, a log that is synced, and a tree that the log goes to in the background; and none of
//! what makes a call happen exactly once: no ids, no records, no sessions, no versions to compare.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use redb::TableDefinition;
use rpc::store::DocKey;
use tokio::sync::Notify;

use super::{DOCUMENT_BYTES, document_number};

const DOCS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
/// As the store's, by default.
const SEGMENT_BYTES: usize = 16 << 20;
const BLOCK: usize = 4096;

type Documents = HashMap<DocKey, Document, foldhash::fast::RandomState>;

struct Document {
    body: Bytes,
    /// Whether it is among the changed ones.
    changed: bool,
}

pub(super) struct HandLog {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Result<(), String>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    documents: Documents,
    /// What is not in the tree and not on its way into it.
    changed: Vec<DocKey>,
    frame: Vec<u8>,
    flush: Arc<Flush>,
    closing: bool,
}

#[derive(Default)]
struct Flush {
    done: std::sync::OnceLock<()>,
    ended: Notify,
}

impl HandLog {
    pub(super) fn open(directory: &Path) -> Result<HandLog, Box<dyn Error>> {
        std::fs::create_dir(directory)?;
        let log = File::create_new(directory.join("log"))?;
        log.write_all_at(&vec![0; 2 * SEGMENT_BYTES], 0)?;
        log.sync_all()?;
        let tree =
            redb::Database::builder().set_cache_size(64 << 20).create(directory.join("tree"))?;
        // One checkpoint may be under way, and one segment be filled meanwhile.
        let (full, checkpoints) = sync_channel::<Vec<(DocKey, Bytes)>>(0);
        std::thread::spawn(move || {
            for documents in checkpoints {
                write_tree(&tree, documents).expect("the benchmark's disk works");
            }
        });
        let shared = Arc::<Shared>::default();
        let of_writer = Arc::clone(&shared);
        let writer = std::thread::spawn(move || of_writer.write(&log, &full));
        Ok(HandLog { shared, writer: Some(writer) })
    }

    pub(super) async fn commit(&self, document: u64) -> Result<(), Box<dyn Error>> {
        let key = DocKey::new("account", &document_number(document))?;
        let seen = self.shared.state.lock().expect("no panics").seen(&key);
        std::hint::black_box(seen);
        let body = Bytes::from(vec![b'd'; DOCUMENT_BYTES]);
        let flush = {
            let mut state = self.shared.state.lock().expect("no panics");
            let was_idle = state.frame.is_empty();
            state.frame.push(key.as_str().len() as u8);
            state.frame.extend_from_slice(key.as_str().as_bytes());
            state.frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
            state.frame.extend_from_slice(&body);
            state.put(key, body);
            if was_idle {
                self.shared.work.notify_one();
            }
            Arc::clone(&state.flush)
        };
        let ended = flush.ended.notified();
        if flush.done.get().is_none() {
            ended.await;
        }
        Ok(())
    }
}

impl Drop for HandLog {
    fn drop(&mut self) {
        self.shared.state.lock().expect("no panics").closing = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            writer.join().expect("no panics").expect("the benchmark's disk works");
        }
    }
}

impl State {
    fn seen(&self, key: &DocKey) -> Option<Bytes> {
        self.documents.get(key).map(|document| document.body.clone())
    }

    fn put(&mut self, key: DocKey, body: Bytes) {
        let changed = Document { body, changed: true };
        if !self.documents.insert(key.clone(), changed).is_some_and(|before| before.changed) {
            self.changed.push(key);
        }
    }

    fn take_changed(&mut self) -> Vec<(DocKey, Bytes)> {
        let changed = std::mem::take(&mut self.changed).into_iter().filter_map(|key| {
            let document = self.documents.get_mut(&key)?;
            document.changed = false;
            Some((key, document.body.clone()))
        });
        changed.collect()
    }
}

impl Shared {
    fn write(&self, log: &File, full: &SyncSender<Vec<(DocKey, Bytes)>>) -> Result<(), String> {
        let mut at = 0;
        loop {
            let mut state = self.state.lock().expect("no panics");
            while state.frame.is_empty() && !state.closing {
                state = self.work.wait(state).expect("no panics");
            }
            if state.frame.is_empty() {
                return Ok(());
            }
            let length = state.frame.len().next_multiple_of(BLOCK);
            let (begun, end) = (at / SEGMENT_BYTES, (at + length - 1) / SEGMENT_BYTES);
            let filled = (begun != end).then(|| state.take_changed());
            let mut frame = std::mem::take(&mut state.frame);
            let flush = std::mem::take(&mut state.flush);
            drop(state);
            if let Some(documents) = filled {
                full.send(documents).map_err(|error| error.to_string())?;
                at = (1 - begun) * SEGMENT_BYTES;
            }
            frame.resize(length, 0);
            std::hint::black_box(xxhash_rust::xxh3::xxh3_64(&frame));
            log.write_all_at(&frame, at as u64).map_err(|error| error.to_string())?;
            log.sync_data().map_err(|error| error.to_string())?;
            at = (at + length) % (2 * SEGMENT_BYTES);
            let _ = flush.done.set(());
            flush.ended.notify_waiters();
        }
    }
}

fn write_tree(
    tree: &redb::Database,
    mut documents: Vec<(DocKey, Bytes)>,
) -> Result<(), redb::Error> {
    documents.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let transaction = tree.begin_write()?;
    {
        let mut table = transaction.open_table(DOCS)?;
        for (key, body) in &documents {
            table.insert(key.as_str(), &body[..])?;
        }
    }
    transaction.commit()?;
    Ok(())
}
