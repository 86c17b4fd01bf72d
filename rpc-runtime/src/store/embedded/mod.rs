//! The embedded store: durable on one machine, in one file, with no server beside it.
//!
//! # The path of a commit
//!
//! 1. [`Store::commit`] checks the size and waits for room: commits that are not durable yet are
//!    bounded in bytes ([`EmbeddedConfig::max_undurable_bytes`]).
//! 2. Under the lock, `State::apply` asks the rules (`store/sessions.rs`) about the id, compares
//!    the versions that were read, and applies the writes and the record **in memory**, to the
//!    *active* `Generation`, under a new number (its LSN, which is the version of what it wrote).
//!    Other calls see it from here on, and may build upon it.
//! 3. The lock is released and the future waits for the generation's `Flush`.
//! 4. The writer thread (`writer.rs`) takes the whole active generation, writes it as **one**
//!    transaction of the engine (redb), which ends in an fsync, and takes a new `Snapshot` of the
//!    file. While it does so, a new active generation collects the next commits.
//! 5. The flush ends: everyone who waits for it is woken, and only now is the commit a
//!    [`Committed`].
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
//! | `generation.rs` | the commits that become durable together, and the wait for it |
//! | `snapshot.rs` | reads of what is durable |
//! | `writer.rs` | the thread that makes generations durable |
//! | `layout.rs` | the rows of the file |

mod config;
mod error;
mod generation;
mod layout;
mod open;
mod snapshot;
mod state;
mod writer;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tokio::sync::Semaphore;

pub use self::config::EmbeddedConfig;
pub use self::error::OpenError;
use self::error::{Failure, FailureCause, FlushError};
use self::generation::Flush;
use self::open::{DirectoryLock, Opened};
use self::snapshot::Snapshot;
use self::state::{Applied, Batch, Reads, State, Verdict};
use super::sessions::TooManySessions;
use super::{
    CallRef, Commit, CommitOutcome, Committed, Confirm, DocKey, Lease, LookUp, ReadVersion, Resume,
    Store, StoreError, StoreFuture, Versioned, limits, sealed,
};
use crate::id::{ClientId, Identity, Seq, SessionId, SessionSecret};
use crate::rule::{Captured, Rule, kept};
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
    writer: Option<JoinHandle<()>>,
    /// Held until the writer thread has ended.
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

    /// Opens the store on a disk of its own making: how tests bring in faults. The backend must be
    /// empty, or hold a store.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    #[doc(hidden)]
    pub fn open_on(
        backend: impl redb::StorageBackend,
        config: EmbeddedConfig,
    ) -> Result<EmbeddedStore, OpenError> {
        let opened = open::backend(backend, "on the given backend".into(), &config)?;
        EmbeddedStore::start(opened, None, &config)
    }

    fn start(
        opened: Opened,
        directory: Option<DirectoryLock>,
        config: &EmbeddedConfig,
    ) -> Result<EmbeddedStore, OpenError> {
        let Opened { place, database, state } = opened;
        let max_permits = config.max_undurable_bytes.max(1);
        let shared = Arc::new(Shared {
            place,
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Semaphore::new(max_permits as usize),
            max_permits,
            stops_after_failure: Captured::of(Rule::StopAfterFailedSync),
        });
        let of_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("rpc-store".into())
            .spawn(move || writer::run(&of_writer, database))
            .map_err(|cause| OpenError::Io {
                place: shared.place.to_string(),
                step: "start the writer thread of",
                cause,
            })?;
        Ok(EmbeddedStore { shared, writer: Some(writer), _directory: directory })
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            // A panic of the thread has been printed; there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

impl sealed::Sealed for EmbeddedStore {}

impl Store for EmbeddedStore {
    fn read<'a>(&'a self, key: &'a DocKey) -> StoreFuture<'a, Result<Versioned, StoreError>> {
        StoreFuture::ready(self.shared.read(key))
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
        StoreFuture::wait(self.shared.commit(commit))
    }

    fn open_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        lease: Lease,
    ) -> StoreFuture<'a, Result<SessionId, StoreError>> {
        self.change_sessions(|state| {
            let session = state.sessions.open(identity, secret, lease)?;
            Ok((session, Some(state.changed(session.client, Seq::FIRST))))
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
                Resume::Resumed { watermark } => Some(state.changed(session.client, watermark)),
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
            let session = state.sessions.get(client).filter(|_| renewed);
            let watermark = session.map(|session| session.watermark);
            Ok(((), watermark.map(|watermark| state.changed(client, watermark))))
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
            Ok(Ok((answer, Some(flush)))) => StoreFuture::wait(async move {
                flush.wait().await.map_err(FlushError::for_write)?;
                Ok(answer)
            }),
            Ok(Err(full)) => {
                StoreFuture::ready(Err(StoreError::Unavailable { cause: Arc::new(full) }))
            }
            Err(error) => StoreFuture::ready(Err(error)),
        }
    }
}

/// An answer that changes nothing, once what it rests on is durable.
fn shown_after<'a, T: Send + 'a>(
    flush: Option<Arc<Flush>>,
    answer: T,
) -> StoreFuture<'a, Result<T, StoreError>> {
    let Some(flush) = flush else { return StoreFuture::ready(Ok(answer)) };
    StoreFuture::wait(async move {
        flush.wait().await.map_err(FlushError::for_read)?;
        Ok(answer)
    })
}

/// What the store and its writer thread share.
#[derive(Debug)]
struct Shared {
    place: Arc<str>,
    state: Mutex<State>,
    /// Wakes the writer thread.
    work: Condvar,
    /// One permit for each byte that may be applied and not durable. First come, first served.
    room: Semaphore,
    max_permits: u32,
    stops_after_failure: Captured,
}

impl Shared {
    fn read(&self, key: &DocKey) -> Result<Versioned, StoreError> {
        enum Place {
            Memory(Versioned),
            File(Arc<Snapshot>),
        }
        let place = self.with_state(|state| {
            Ok(match state.undurable(key) {
                Some(document) => Place::Memory(document.clone()),
                None => Place::File(Arc::clone(state.snapshot())),
            })
        });
        match place? {
            Place::Memory(document) => Ok(document),
            Place::File(snapshot) => snapshot
                .document(key)
                .map_err(|cause| StoreError::Unavailable { cause: self.fail("read", cause) }),
        }
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StoreError> {
        limits::check(&commit)?;
        let weight = u32::try_from(limits::weight(&commit)).unwrap_or(u32::MAX);
        let weight = weight.min(self.max_permits);
        let Ok(permits) = self.room.acquire_many(weight).await else {
            return Err(self.closed());
        };
        let applied = self.with_state(|state| state.apply(commit, permits.num_permits()))?;
        if matches!(applied, Applied::Committed(..)) {
            // The flush gives the room back.
            permits.forget();
        } else {
            drop(permits);
        }
        match applied {
            Applied::Committed(outcome, flush) => {
                if kept(Rule::WaitForSync) {
                    flush.wait().await.map_err(FlushError::for_write)?;
                }
                Ok(CommitOutcome::Committed(Committed::new(outcome)))
            }
            Applied::Recorded(outcome, flush) => {
                shown_after(flush, CommitOutcome::Recorded(Committed::new(outcome))).await
            }
            Applied::Refused(refusal, flush) => {
                shown_after(flush, CommitOutcome::Refused(refusal)).await
            }
            Applied::Conflict => Ok(CommitOutcome::Conflict),
        }
    }

    /// Runs one step under the lock, and wakes the writer thread if it left work.
    fn with_state<T>(
        &self,
        step: impl FnOnce(&mut State) -> Result<T, FailureCause>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        if let Some(failure) = state.failure() {
            return Err(StoreError::Unavailable { cause: Arc::clone(failure) as _ });
        }
        let answer = step(&mut state).map_err(|cause| StoreError::Unavailable {
            cause: self.fail_locked(&mut state, "read", cause),
        })?;
        let wake = state.writer_idle && state.has_work();
        if wake {
            state.writer_idle = false;
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(answer)
    }

    /// What the writer thread has to write next; `None` if its work is over.
    fn next_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if state.failure().is_some() {
                return None;
            }
            if state.has_work() {
                return Some(state.begin_flush());
            }
            if state.closing {
                return None;
            }
            state.writer_idle = true;
            // The lock is taken anew, so that a panic elsewhere is seen there.
            drop(self.work.wait(state));
            state = self.lock();
            state.writer_idle = false;
        }
    }

    /// Closes the store for good and says why. The first reason stays.
    fn fail(&self, step: &'static str, cause: FailureCause) -> Arc<Failure> {
        self.fail_locked(&mut self.lock(), step, cause)
    }

    fn fail_locked(
        &self,
        state: &mut State,
        step: &'static str,
        cause: FailureCause,
    ) -> Arc<Failure> {
        if let Some(failure) = state.failure() {
            return Arc::clone(failure);
        }
        let failure = Arc::new(Failure { place: Arc::clone(&self.place), step, cause });
        tracing::error!(%failure, "the store has failed");
        state.fail(Arc::clone(&failure));
        self.room.close();
        // So that an idle writer thread ends, and lets go of the files.
        self.work.notify_one();
        failure
    }

    /// What a commit is told that waited for room when the store failed.
    fn closed(&self) -> StoreError {
        let state = self.lock();
        let failure = state.failure().expect("there is no room only after a failure");
        StoreError::Unavailable { cause: Arc::clone(failure) as _ }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // A panic in the middle of a change: what is in memory is not to be trusted.
            let mut state = poisoned.into_inner();
            let cause = FailureCause::Panic("a panic while the state was changed".into());
            self.fail_locked(&mut state, "change its state", cause);
            state
        })
    }
}
