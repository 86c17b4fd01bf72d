//! The embedded store: durable on one machine, in two files, with no server beside it.
//!
//! # The path of a commit
//!
//! 1. [`Store::commit`] checks the size and waits for room: commits that are not durable yet are
//!    bounded in bytes ([`EmbeddedConfig::max_undurable_bytes`]).
//! 2. Under the lock, `State::apply` asks the rules (`store/sessions.rs`) about the id, compares
//!    the versions that were read, and applies the writes and the record **in memory**, under a
//!    new number (its LSN, which is the version of what it wrote). It also appends them to the
//!    *active* `Generation`. Other calls see it from here on, and may build upon it.
//! 3. The lock is released and the future waits for the generation's `Flush`.
//! 4. The writer thread (`writer.rs`) takes the whole active generation and appends it to the
//!    **log** (`log.rs`): one write, one sync. While it does so, a new active generation collects
//!    the next commits.
//!    (With [`EmbeddedConfig::sync_where_called`], who waits for a lone commit does this itself.)
//! 5. The flush ends: everyone who waits for it is woken, and only now is the commit a
//!    [`Committed`].
//! 6. When half of the log is full, the checkpoint thread (`checkpoint.rs`) puts what it holds into
//!    the **tree**, a database of the engine (redb), in one transaction, and that half is free for
//!    new generations. Until then it is found in memory, and after a crash in the log.
//!
//! # Why nothing is shown that could be lost
//!
//! Generations become durable in the order of their numbers, each whole. So what rests on a
//! change is safe to show once that change's generation is durable: [`Store::confirm`],
//! [`Store::look_up`], and every answer of [`Store::commit`] but `Conflict` wait for just that.
//! `docs/embedded-store.md` has the argument in full, the layout byte by byte, and what happens on
//! each error.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`EmbeddedStore`], the answers of the [`Store`] trait, and the waiting |
//! | `config.rs` | [`EmbeddedConfig`] |
//! | `error.rs` | [`OpenError`], and why an open store fails |
//! | `open.rs` | opening: the directory, its lock, a new file, what is loaded |
//! | `state.rs` | what the lock guards, and the rules for changing it |
//! | `young.rs` | the documents that are not in the tree |
//! | `recent.rs` | a record in memory |
//! | `results.rs` | where longer recorded results lie in memory |
//! | `shared.rs` | the lock, and the hand-over between callers and the two threads |
//! | `generation.rs` | the changes that become durable together, and the wait for it |
//! | `writer.rs` | the thread that makes generations durable |
//! | `log.rs` | the file that it appends them to |
//! | `frame.rs` | a generation in that file, byte by byte |
//! | `checkpoint.rs` | the thread that puts them into the tree |
//! | `snapshot.rs` | reads of the tree |
//! | `layout.rs` | the rows of the tree |

mod checkpoint;
mod config;
mod error;
mod frame;
mod generation;
mod layout;
mod log;
mod open;
mod recent;
mod results;
#[cfg(test)]
mod rule_tests;
mod shared;
mod snapshot;
mod state;
mod writer;
mod young;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use self::checkpoint::WriteError;
pub use self::config::EmbeddedConfig;
pub use self::error::OpenError;
use self::open::{DirectoryLock, Opened};
use self::shared::Shared;
use self::state::{Reads, State, Verdict};
use super::flush::{Deferred, Flush};
use super::sessions::TooManySessions;
use super::{
    AtHand, CallRef, Commit, CommitOutcome, Committed, Confirm, DocKey, Draft, Drafted, Encoded,
    Lease, LookUp, ReadVersion, Resume, Store, StoreError, StoreFuture, Versioned, limits, sealed,
};
use crate::id::{ClientId, Identity, SessionId, SessionSecret};
use crate::time::WallTime;

/// A store in a directory of this machine.
///
/// Share it between servers of one process in an `Arc`. One process at a time may have it open.
/// Dropping the last handle writes what is not written yet and waits for it, an fsync long.
///
/// After an error of the disk it answers nothing but [`StoreError::Unavailable`], with the cause,
/// until it is dropped and opened again: what it holds in memory may never become durable.
///
/// It needs no runtime: the futures can be awaited anywhere, also where time stands still.
///
/// ```
/// use std::sync::Arc;
/// use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
/// use rpc::store::Store;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("rpc-doc-{}", std::process::id()));
/// let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&directory, EmbeddedConfig::default())?);
/// # drop(store);
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// The writer thread, and then the checkpoint thread, which ends after it.
    threads: Vec<JoinHandle<()>>,
    /// Held until the threads have ended.
    _directory: Option<DirectoryLock>,
}

impl EmbeddedStore {
    /// Opens the store in this directory, and creates both if they do not exist.
    ///
    /// Takes as long as reading the file once (see [`EmbeddedConfig::check_on_open`]); blocks.
    ///
    /// # Errors
    /// If the path is no directory, is in use by another process, cannot be written, or holds
    /// something else or something damaged. Each says what to do.
    pub fn open(
        directory: impl AsRef<Path>,
        config: EmbeddedConfig,
    ) -> Result<EmbeddedStore, OpenError> {
        let (opened, lock) = open::directory(directory.as_ref(), &config)?;
        EmbeddedStore::start(opened, Some(lock), &config)
    }

    /// Opens the store on two files of the caller's own making, the tree and the log: how tests
    /// bring in faults. The tree must be empty, or hold a store.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    #[doc(hidden)]
    pub fn open_on(
        tree: impl redb::StorageBackend,
        log: impl redb::StorageBackend,
        config: EmbeddedConfig,
    ) -> Result<EmbeddedStore, OpenError> {
        let place = "on the given backend".into();
        let opened = open::backends(tree, Some(Box::new(log)), place, &config)?;
        EmbeddedStore::start(opened, None, &config)
    }

    fn start(
        opened: Opened,
        directory: Option<DirectoryLock>,
        config: &EmbeddedConfig,
    ) -> Result<EmbeddedStore, OpenError> {
        let Opened { place, database, state } = opened;
        let shared = Arc::new(Shared::new(place, state, config));
        let mut store = EmbeddedStore { shared, threads: Vec::new(), _directory: directory };
        store.start_thread("rpc-store", writer::run)?;
        store.start_thread("rpc-store-tree", |shared| checkpoint::run(shared, database))?;
        Ok(store)
    }

    fn start_thread(
        &mut self,
        name: &str,
        work: impl FnOnce(&Shared) + Send + 'static,
    ) -> Result<(), OpenError> {
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new().name(name.into()).spawn(move || work(&shared));
        let thread = started.map_err(|cause| OpenError::Io {
            place: self.shared.place.to_string(),
            step: "start the threads of",
            cause,
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.shared.close();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl sealed::Sealed for EmbeddedStore {}

impl Store for EmbeddedStore {
    fn read<'a>(&'a self, key: &'a DocKey) -> StoreFuture<'a, Result<Versioned, StoreError>> {
        StoreFuture::ready(self.shared.read(key))
    }

    fn read_at_hand(
        &self,
        key: &DocKey,
        body: &mut Option<Encoded>,
    ) -> Option<Result<AtHand, StoreError>> {
        Some(self.shared.read_to(key, body))
    }

    fn confirm<'a>(
        &'a self,
        reads: &'a [ReadVersion],
    ) -> StoreFuture<'a, Result<Confirm, StoreError>> {
        let checked = self.shared.with_state(|state| match reads {
            // One document was true when it was read, whatever it is by now.
            [] => Ok(Reads::Hold(None)),
            [only] => Ok(Reads::Hold(state.flush_of(only.version))),
            several => state.check(several),
        });
        match checked {
            Ok(Reads::Hold(flush)) => shown_after(flush, Confirm::Consistent),
            Ok(Reads::Changed) => StoreFuture::ready(Ok(Confirm::Changed)),
            Err(error) => StoreFuture::ready(Err(error)),
        }
    }

    fn look_up<'a>(&'a self, call: &'a CallRef) -> StoreFuture<'a, Result<LookUp, StoreError>> {
        match self.shared.with_state(|state| state.judge(call)) {
            Ok(Verdict::New) => StoreFuture::ready(Ok(LookUp::Unknown)),
            Ok(Verdict::Recorded(outcome, flush)) => {
                shown_after(flush, LookUp::Recorded(Committed::new(outcome)))
            }
            Ok(Verdict::Refused(refusal, flush)) => shown_after(flush, LookUp::Refused(refusal)),
            Err(error) => StoreFuture::ready(Err(error)),
        }
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, Result<CommitOutcome, StoreError>> {
        match limits::check(&commit) {
            Ok(()) => commit.lend(|draft| self.shared.commit(draft).whole()),
            Err(error) => StoreFuture::ready(Err(error)),
        }
    }

    fn commit_draft<'draft>(&self, draft: Draft<'draft>) -> Drafted<'_, 'draft> {
        match limits::check_draft(&draft) {
            Ok(()) => self.shared.commit(draft),
            Err(error) => Drafted::Otherwise(StoreFuture::ready(Err(error))),
        }
    }

    fn uses_anchors(&self) -> bool {
        false
    }

    fn open_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        lease: Lease,
    ) -> StoreFuture<'a, Result<SessionId, StoreError>> {
        self.change_sessions(|state| {
            let session = state.sessions.open(identity, secret, lease)?;
            Ok((session, Some(state.changed(session.client))))
        })
    }

    fn resume_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        session: SessionId,
        lease: Lease,
    ) -> StoreFuture<'a, Result<Resume, StoreError>> {
        self.change_sessions(|state| {
            let resume = state.sessions.resume(identity, secret, session, lease);
            let flush = match resume {
                Resume::Resumed { .. } => Some(state.changed(session.client)),
                Resume::Fenced { .. } | Resume::Closed => state.flush_of_all(),
            };
            Ok((resume, flush))
        })
    }

    fn renew_session(
        &self,
        client: ClientId,
        lease: Lease,
    ) -> StoreFuture<'_, Result<(), StoreError>> {
        self.change_sessions(|state| {
            let renewed = state.sessions.renew(client, lease);
            Ok(((), renewed.then(|| state.changed(client))))
        })
    }

    fn close_session(&self, session: SessionId) -> StoreFuture<'_, Result<(), StoreError>> {
        self.change_sessions(|state| match state.sessions.close(session) {
            Some(_) => Ok(((), Some(state.closed(session.client)))),
            // Closed already, but perhaps not yet durably.
            None => Ok(((), state.flush_of_all())),
        })
    }

    fn expire_sessions(&self, now: WallTime) -> StoreFuture<'_, Result<usize, StoreError>> {
        self.change_sessions(|state| {
            let expired = state.sessions.expire(now);
            let flush = expired.iter().map(|(client, _)| state.closed(*client)).last();
            Ok((expired.len(), flush))
        })
    }
}

impl EmbeddedStore {
    /// Changes sessions, and answers once that is durable.
    fn change_sessions<'a, T: Send + 'a>(
        &'a self,
        change: impl FnOnce(&mut State) -> Result<(T, Option<Arc<Flush>>), TooManySessions>,
    ) -> StoreFuture<'a, Result<T, StoreError>> {
        match self.shared.with_state(|state| Ok(change(state))) {
            Ok(Ok((answer, None))) => StoreFuture::ready(Ok(answer)),
            Ok(Ok((answer, Some(flush)))) => {
                StoreFuture::deferred(Deferred::of_write(answer, flush))
            }
            Ok(Err(full)) => {
                StoreFuture::ready(Err(StoreError::Unavailable { cause: Arc::new(full) }))
            }
            Err(error) => StoreFuture::ready(Err(error)),
        }
    }
}

/// An answer that changes nothing, once what it rests on is durable.
fn shown_after<T>(
    flush: Option<Arc<Flush>>,
    answer: T,
) -> StoreFuture<'static, Result<T, StoreError>> {
    match flush {
        None => StoreFuture::ready(Ok(answer)),
        Some(flush) => StoreFuture::deferred(Deferred::of_read(answer, flush)),
    }
}
