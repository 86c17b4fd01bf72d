//! The same write without ids: a store written by hand that does for documents all that the
//! embedded store does, and nothing of what makes a call happen exactly once.
//!
//! | it has | it has not |
//! | --- | --- |
//! | documents with versions, read from memory and the tree | sessions and incarnations |
//! | commits of several documents, all or nothing, if what was read has not changed | ids, and the check of an id |
//! | a bound on what is not durable | records: the result, and the hash of the arguments |
//! | group commit to a log of frames with checksums | watermarks |
//! | checkpoints into a tree in the background | |
//! | recovery of what the log holds; failure for good after an error | |
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the interface, and the waiting |
//! | `state.rs` | what the lock guards |
//! | `log.rs` | the log, and the thread that writes it |
//! | `tree.rs` | the tree, and the thread that makes checkpoints |

mod log;
mod state;
mod tree;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use rpc::store::{DocKey, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS_PER_CALL, StoreFuture};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use self::log::Log;
use self::state::{Document, State};
use self::tree::Tree;

/// How many bytes of commits may be applied and not durable: no more than a segment takes.
const ROOM: usize = log::SEGMENT as usize;

/// Why it answers no more, or does not take a commit.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Arc<str>);

impl From<&str> for Failure {
    fn from(reason: &str) -> Failure {
        Failure(reason.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

pub(crate) struct WithoutIds {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What a run read.
pub(crate) struct Read {
    key: DocKey,
    version: Option<u64>,
    /// The snapshot of the tree that it was read in.
    snapshot: Option<u64>,
}

pub(crate) struct Write {
    pub(crate) key: DocKey,
    pub(crate) body: Option<Bytes>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the writer thread.
    work: Condvar,
    room: Semaphore,
}

/// The wait until a generation is durable.
#[derive(Debug, Default)]
struct Flush {
    end: OnceLock<Result<(), Failure>>,
    ended: Notify,
}

impl Flush {
    async fn wait(&self) -> Result<(), Failure> {
        let ended = self.ended.notified();
        if let Some(end) = self.end.get() {
            return end.clone();
        }
        ended.await;
        // The thread that writes wakes one: who wakes the others is where they are, which is cheaper.
        self.ended.notify_waiters();
        self.end.get().expect("set before it is notified").clone()
    }

    fn finish(&self, end: Result<(), Failure>) {
        let _ = self.end.set(end);
        self.ended.notify_one();
    }
}

impl WithoutIds {
    pub(crate) fn open(directory: &Path) -> Result<WithoutIds, Box<dyn Error>> {
        std::fs::create_dir_all(directory)?;
        let tree = Tree::open(&directory.join("tree"))?;
        let mut state = State::new(tree.snapshot()?);
        let log = Log::open(&directory.join("log"), &mut state)?;
        tree.take(&mut state)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Semaphore::new(ROOM),
        });
        // One checkpoint may be under way while the other segment is filled.
        let (full, checkpoints) = sync_channel(1);
        let (of_writer, of_tree) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || log.run(&of_writer, &full)),
            std::thread::spawn(move || tree.run(&of_tree, &checkpoints)),
        ];
        Ok(WithoutIds { shared, threads })
    }

    /// The document, and what a commit compares.
    pub(crate) fn read(&self, key: &DocKey) -> Result<(Option<Bytes>, Read), Failure> {
        let state = self.shared.lock()?;
        if let Some(Document { version, body }) = state.recent(key) {
            let version = body.as_ref().map(|_| *version);
            return Ok((body.clone(), Read { key: key.clone(), version, snapshot: None }));
        }
        let snapshot = Arc::clone(&state.snapshot);
        drop(state);
        let (version, body) = snapshot.document(key).map_err(|error| self.shared.fail(error))?;
        Ok((body, Read { key: key.clone(), version, snapshot: Some(snapshot.last) }))
    }

    /// Writes if nothing that was read has changed, and says whether; durable before it answers.
    pub(crate) fn commit(
        &self,
        reads: Vec<Read>,
        writes: Vec<Write>,
    ) -> StoreFuture<'_, Result<bool, Failure>> {
        StoreFuture::wait(self.shared.commit(reads, writes))
    }
}

impl Drop for WithoutIds {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.lock() {
            state.closing = true;
        }
        self.shared.work.notify_one();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let state = self.state.lock().expect("no panics");
        match &state.failure {
            None => Ok(state),
            Some(failure) => Err(failure.clone()),
        }
    }

    fn fail(&self, error: impl Error) -> Failure {
        let failure = Failure(error.to_string().into());
        let mut state = self.state.lock().expect("no panics");
        state.active.flush.finish(Err(failure.clone()));
        state.failure = Some(failure.clone());
        self.room.close();
        self.work.notify_one();
        failure
    }

    async fn commit(&self, reads: Vec<Read>, writes: Vec<Write>) -> Result<bool, Failure> {
        let weight = weight(&reads, &writes)?;
        let permits = self.room.acquire_many(weight).await;
        let permits = permits.map_err(|_| Failure::from("it is closed"))?;
        match self.apply(&reads, writes, permits)? {
            Some(flush) => flush.wait().await.map(|()| true),
            None => Ok(false),
        }
    }

    fn apply(
        &self,
        reads: &[Read],
        writes: Vec<Write>,
        permits: SemaphorePermit<'_>,
    ) -> Result<Option<Arc<Flush>>, Failure> {
        let mut state = self.lock()?;
        let holds = match state.hold(reads) {
            Ok(holds) => holds,
            Err(error) => {
                drop(state);
                return Err(self.fail(error));
            }
        };
        if !holds {
            return Ok(None);
        }
        let flush = state.commit(writes, permits.num_permits());
        // The flush gives the room back.
        permits.forget();
        let wake = std::mem::take(&mut state.writer_idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(Some(flush))
    }
}

/// About how much memory a commit holds until it is durable.
fn weight(reads: &[Read], writes: &[Write]) -> Result<u32, Failure> {
    let mut sum = 0;
    for write in writes {
        let length = write.body.as_ref().map_or(0, Bytes::len);
        if length > MAX_DOCUMENT_BYTES {
            return Err("a document is too large".into());
        }
        sum += 64 + write.key.as_str().len() + length;
    }
    if reads.len().max(writes.len()) > MAX_DOCUMENTS_PER_CALL {
        return Err("too many documents".into());
    }
    Ok(sum.min(ROOM) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::store::block_on;

    async fn put(store: &WithoutIds, name: &str, body: &[u8]) -> bool {
        let key = DocKey::new("doc", &name).unwrap();
        let (_, read) = store.read(&key).unwrap();
        let write = Write { key, body: Some(Bytes::copy_from_slice(body)) };
        store.commit(vec![read], vec![write]).await.unwrap()
    }

    #[test]
    fn what_was_committed_is_found_again() {
        let place = tempfile::tempdir().unwrap();
        let key = DocKey::new("doc", &"last").unwrap();
        block_on(async {
            let store = WithoutIds::open(place.path()).unwrap();
            // More than a segment, so that a part of it is in the tree, and a part in the log.
            for number in 0..30_u32 {
                let body = vec![number as u8; 1 << 20];
                assert!(put(&store, &format!("{}", number % 7), &body).await);
            }
            assert!(put(&store, "last", b"1").await);
            let (_, stale) = store.read(&key).unwrap();
            assert!(put(&store, "last", b"2").await);
            assert!(!store.commit(vec![stale], Vec::new()).await.unwrap(), "it was written since");
            drop(store);
            let store = WithoutIds::open(place.path()).unwrap();
            for name in 0..7_u32 {
                let (body, _) = store.read(&DocKey::new("doc", &name).unwrap()).unwrap();
                let newest = (23..30).find(|number| number % 7 == name).unwrap();
                assert_eq!(body.unwrap()[0], newest as u8);
            }
            assert_eq!(store.read(&key).unwrap().0.as_deref(), Some(&b"2"[..]));
            Ok(())
        })
        .unwrap();
    }
}
