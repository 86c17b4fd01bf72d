//! The exactly-once store over any key-value store with compare-and-swap per document.
//!
//! A call's *anchor* document carries its commit record in hidden metadata. A call that writes one
//! document changes body and record in one compare-and-swap: as many operations as with no
//! protection at all. A call over N documents first *stages* the others (a not-yet-committed write
//! in their metadata, the body untouched), then writes the anchor: that one compare-and-swap is the
//! commit point. Afterwards, unhurried, the stages become bodies.
//!
//! `docs/store-protocol.md` has the layout, every state, who may change it and why each
//! interleaving is safe.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`CasStore`]: the [`Store`] over a backend |
//! | `backend.rs` | [`CasBackend`], the small trait that a key-value store implements |
//! | `meta.rs` | the metadata of a document |
//! | `load.rs` | reading and writing documents, and settling ambiguous writes |
//! | `commit.rs` | one run: stage, commit point, what follows |
//! | `conflict.rs` | who meets a stage: roll forward, roll back, wait, fence |
//! | `turns.rs` | runs of one process that want the same documents go one after the other |
//! | `session.rs` | session documents, client ids, leases |
//! | `tidy.rs` | what is known to be cleared, and what may be collected |

mod backend;
mod commit;
mod conflict;
#[cfg(test)]
mod conflict_tests;
mod load;
mod meta;
mod session;
mod tidy;
mod turns;

use std::sync::{Arc, Mutex, PoisonError};

pub use self::backend::{Cas, CasBackend, CasDocument, CasError};
pub use self::commit::{MAX_RECORDED_BYTES, MAX_STAGED_BYTES};
use self::conflict::{Clear, Fate, Meetings, fate_of};
use self::load::Loaded;
use self::meta::Token;
use self::session::Sessions;
use self::tidy::Tidy;
use self::turns::Turns;
use super::{
    CallRef, Commit, CommitOutcome, Confirm, DocKey, Lease, LookUp, ReadVersion, Resume, Store,
    StoreError, StoreFuture, Version, Versioned, sealed,
};
use crate::id::{ClientId, Identity, SessionId, SessionSecret};
use crate::time::{WallClock, WallTime};

/// A [`Store`] over a [`CasBackend`].
///
/// Any number of processes may use one over the same documents. Needs a tokio runtime: what
/// follows a commit is done in tasks.
pub struct CasStore<B: CasBackend> {
    inner: Arc<Inner<B>>,
}

struct Inner<B> {
    backend: B,
    /// What the wall clock says: only leases ask.
    clock: WallClock,
    /// Makes tokens of this process unlike those of any other.
    token_prefix: u64,
    tokens: std::sync::atomic::AtomicU64,
    rng: Mutex<fastrand::Rng>,
    sessions: Sessions,
    meetings: Meetings,
    turns: Turns,
    tidy: Tidy,
}

/// How often a read starts over when what it reads keeps changing, before it reports trouble.
const MAX_RESTARTS: usize = 32;

impl<B: CasBackend> CasStore<B> {
    /// The store over `backend`.
    ///
    /// # Errors
    /// If the operating system has no random numbers.
    pub fn new(backend: B) -> Result<CasStore<B>, StoreError> {
        let mut prefix = [0; 8];
        getrandom::fill(&mut prefix)
            .map_err(|error| StoreError::Unavailable { cause: Arc::new(error) })?;
        Ok(CasStore::with_seed(backend, u64::from_le_bytes(prefix), WallTime::now))
    }

    /// As [`new`](CasStore::new), with what makes a run repeatable: a seed that no other process on
    /// these documents has ever used, and the wall clock.
    pub fn with_seed(
        backend: B,
        seed: u64,
        clock: impl Fn() -> WallTime + Send + Sync + 'static,
    ) -> CasStore<B> {
        CasStore {
            inner: Arc::new(Inner {
                backend,
                clock: Box::new(clock),
                token_prefix: seed,
                tokens: std::sync::atomic::AtomicU64::new(1),
                rng: Mutex::new(fastrand::Rng::with_seed(seed)),
                sessions: Sessions::default(),
                meetings: Meetings::default(),
                turns: Turns::default(),
                tidy: Tidy::default(),
            }),
        }
    }

    /// Removes what a document need not remember any more (to-do lists that are done, entries of
    /// sessions that are over), and the document itself if it is only a memory. Writes do the same
    /// on their way; this is for documents that nobody writes any more. Returns whether it is gone.
    ///
    /// # Errors
    /// If the backend cannot answer.
    pub async fn collect(&self, key: &DocKey) -> Result<bool, StoreError> {
        self.inner.collect(key).await
    }

    /// The backend, for what only it can do.
    pub fn backend(&self) -> &B {
        &self.inner.backend
    }
}

impl<B: CasBackend> sealed::Sealed for CasStore<B> {}

impl<B: CasBackend> Store for CasStore<B> {
    fn read<'a>(&'a self, key: &'a DocKey) -> StoreFuture<'a, Result<Versioned, StoreError>> {
        StoreFuture::wait(self.inner.read(key))
    }

    fn confirm<'a>(
        &'a self,
        reads: &'a [ReadVersion],
    ) -> StoreFuture<'a, Result<Confirm, StoreError>> {
        if reads.len() < 2 {
            return StoreFuture::ready(Ok(Confirm::Consistent));
        }
        StoreFuture::wait(self.inner.confirm(reads))
    }

    fn look_up<'a>(&'a self, call: &'a CallRef) -> StoreFuture<'a, Result<LookUp, StoreError>> {
        StoreFuture::wait(self.inner.look_up(call))
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, Result<CommitOutcome, StoreError>> {
        StoreFuture::wait(Arc::clone(&self.inner).commit(commit))
    }

    fn give_up(&self, call: &CallRef) {
        self.inner.turns.give_up(call.id, call.attempt);
        self.inner.meetings.forget(call.id);
    }

    fn open_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        lease: Lease,
    ) -> StoreFuture<'a, Result<SessionId, StoreError>> {
        StoreFuture::wait(self.inner.open_session(identity, secret, lease))
    }

    fn resume_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        session: SessionId,
        lease: Lease,
    ) -> StoreFuture<'a, Result<Resume, StoreError>> {
        StoreFuture::wait(self.inner.resume_session(identity, secret, session, lease))
    }

    fn renew_session(
        &self,
        client: ClientId,
        lease: Lease,
    ) -> StoreFuture<'_, Result<(), StoreError>> {
        StoreFuture::wait(self.inner.renew_session(client, lease))
    }

    fn close_session(&self, session: SessionId) -> StoreFuture<'_, Result<(), StoreError>> {
        StoreFuture::wait(self.inner.close_session(session))
    }

    fn expire_sessions(&self, now: WallTime) -> StoreFuture<'_, Result<usize, StoreError>> {
        StoreFuture::wait(self.inner.expire_sessions(now))
    }
}

impl<B: CasBackend> Inner<B> {
    async fn read(&self, key: &DocKey) -> Result<Versioned, StoreError> {
        let loaded = self.load_effective(key).await?;
        let body = (!loaded.meta.absent).then(|| loaded.body.clone().into());
        let version = Version(loaded.cas.map_or(0, |cas| cas.0));
        Ok(Versioned::new(version, body).with_memo(Arc::new(loaded)))
    }

    /// A document whose body is what is committed now. A read never fences: a stage whose run is
    /// undecided changes nothing yet, provided that it is still there after its anchor was asked.
    async fn load_effective(&self, key: &DocKey) -> Result<Loaded, StoreError> {
        let mut loaded = self.load(key).await?;
        for _ in 0..MAX_RESTARTS {
            let Some(stage) = &loaded.meta.stage else { return Ok(loaded) };
            let anchor = self.load_named(&stage.anchor).await?;
            match fate_of(&anchor, stage) {
                Fate::Won => {
                    self.clear_stage(key, &loaded, Clear::Forward).await?;
                    loaded = self.load(key).await?;
                }
                // Nobody waits for it, and whoever writes the document would have to clear it.
                Fate::Lost => {
                    self.clear_stage(key, &loaded, Clear::Back).await?;
                    loaded = self.load(key).await?;
                }
                Fate::Undecided => {
                    let again = self.load(key).await?;
                    if again.cas == loaded.cas {
                        return Ok(loaded);
                    }
                    loaded = again;
                }
            }
        }
        Err(busy(key))
    }

    /// Whether all that was read is still so. All of it was true at the moment when the last read
    /// ended, if each is unchanged at some moment after that.
    async fn confirm(&self, reads: &[ReadVersion]) -> Result<Confirm, StoreError> {
        for read in reads {
            let now = self.load(&read.key).await?;
            let version = (!now.meta.absent).then(|| Version(now.cas.map_or(0, |cas| cas.0)));
            if !read.still_holds(version) {
                return Ok(Confirm::Changed);
            }
            // An unchanged document may have another content by now: its stage's record decides.
            if let Some(stage) = &now.meta.stage {
                let anchor = self.load_named(&stage.anchor).await?;
                let changed = match fate_of(&anchor, stage) {
                    Fate::Won => true,
                    Fate::Undecided => false,
                    // A run that has won looks like this too, once its stages are bodies and its
                    // record is trimmed. While a stage stands, its record does.
                    Fate::Lost => self.load(&read.key).await?.cas != now.cas,
                };
                if changed {
                    return Ok(Confirm::Changed);
                }
            }
        }
        Ok(Confirm::Consistent)
    }

    async fn look_up(&self, call: &CallRef) -> Result<LookUp, StoreError> {
        if let Err(refusal) = self.check_session(call).await? {
            return Ok(LookUp::Refused(refusal));
        }
        let anchor = self.load(&anchor_key(call)).await?;
        Ok(commit::look_for(&anchor.meta, call))
    }

    fn new_token(&self) -> Token {
        let number = self.tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Token(self.token_prefix, number)
    }

    /// A duration between nothing and `most`.
    fn jitter(&self, most: std::time::Duration) -> std::time::Duration {
        let share = self.rng.lock().unwrap_or_else(PoisonError::into_inner).f64();
        most.mul_f64(share)
    }
}

/// The document that carries a call's record: its anchor, or one of its own.
fn anchor_key(call: &CallRef) -> DocKey {
    call.anchor
        .clone()
        .unwrap_or_else(|| DocKey::new("rpc_call", &call.id).expect("a call's id is a short name"))
}

fn busy(key: &DocKey) -> StoreError {
    let cause = std::io::Error::other(format!("document {key} keeps changing under a read"));
    StoreError::Unavailable { cause: Arc::new(cause) }
}

impl<B: CasBackend> std::fmt::Debug for CasStore<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CasStore").finish_non_exhaustive()
    }
}
