//! The store: where a call's effect and the record of that effect become one.
//!
//! "Apply these writes and record this result under this id, if the id is new and nothing read has
//! changed": [`Store::commit`] is that one operation, and it is what exactly-once means. The tables
//! of a server are caches; the store alone is the truth.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the [`Store`] trait and the words it speaks in |
//! | `future.rs` | [`StoreFuture`], a future that costs nothing when the answer is at hand |
//! | `draft.rs` | [`Draft`], a commit whose lists are lent |
//! | `encoded.rs` | [`Encoded`], the bytes of a body or a result |
//! | `flush.rs` | the wait until changes are durable, and [`Deferred`], an answer that waits for it |
//! | `key.rs` | [`DocKey`], the checked name of a document |
//! | `read.rs` | a document as it was read |
//! | `limits.rs` | what a store takes in one commit, and how many sessions |
//! | `sessions.rs` | the rules of sessions, watermarks and records that every local store shares |
//! | `records.rs` | the records of one session in memory, by number |
//! | `memory.rs` | [`MemoryStore`], for tests and for state that may be lost |
//! | `embedded/` | `EmbeddedStore`, durable on one machine, with group commit |
//! | `cas/` | `CasStore`, over any key-value store with compare-and-swap |
//! | `couchbase/` | that store on a Couchbase cluster |

#[cfg(feature = "cas")]
pub mod cas;
#[cfg(feature = "couchbase")]
pub mod couchbase;
mod draft;
#[cfg(feature = "embedded")]
pub mod embedded;
mod encoded;
#[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "only that store defers answers"))]
pub(crate) mod flush;
mod future;
mod key;
mod limits;
mod memory;
mod read;
mod records;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

#[doc(hidden)]
pub use self::draft::{Draft, Drafted, Lent};
#[cfg(feature = "embedded")]
pub use self::embedded::{EmbeddedConfig, EmbeddedStore};
pub use self::encoded::Encoded;
pub use self::flush::Deferred;
#[doc(hidden)]
pub use self::flush::UntilDurable;
pub use self::future::{DeferredFuture, StoreFuture};
pub use self::key::{DocKey, KeyError};
pub use self::limits::{
    DEFAULT_MAX_SESSIONS, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS_PER_CALL, MAX_RESULT_BYTES,
};
pub use self::memory::MemoryStore;
#[doc(hidden)]
pub use self::read::AtHand;
pub use self::read::{ReadVersion, Version, Versioned};
use crate::id::{
    ArgumentHash, Attempt, CallId, ClientId, Identity, Incarnation, Seq, SessionId, SessionSecret,
};
use crate::time::WallTime;

/// A store that all servers of a service share.
///
/// Sealed: only the stores of this crate implement it, since only a store may say that something
/// is [`Committed`].
///
/// Every method may be retried. No method blocks the thread for longer than a page read; whatever
/// waits (for an fsync, for the network) waits in the returned future, without blocking the thread
/// unless the store was told to (`EmbeddedConfig::sync_where_called`). A returned future may be
/// dropped at any await: what it was doing then has either happened or not, and the id's record
/// tells which.
pub trait Store: Send + Sync + 'static + sealed::Sealed {
    /// The document under this key, with the version that a later [`commit`](Store::commit) or
    /// [`confirm`](Store::confirm) compares.
    ///
    /// What is returned may not be durable yet: it must not be shown to anyone before `commit` or
    /// `confirm` has passed on it.
    fn read<'a>(&'a self, key: &'a DocKey) -> StoreFuture<'a, Result<Versioned, StoreError>>;

    /// Waits until all that was read is durable, and says whether all of it was true at one
    /// moment. A single document always was.
    fn confirm<'a>(
        &'a self,
        reads: &'a [ReadVersion],
    ) -> StoreFuture<'a, Result<Confirm, StoreError>>;

    /// Looks for the commit record of a call: the look before the leap of a retry.
    fn look_up<'a>(&'a self, call: &'a CallRef) -> StoreFuture<'a, Result<LookUp, StoreError>>;

    /// Applies the writes and records the result under the call's id, if the id is new and nothing
    /// that was read has changed. All or nothing, and durable before it answers.
    fn commit(&self, commit: Commit) -> StoreFuture<'_, Result<CommitOutcome, StoreError>>;

    /// As [`read`](Store::read), by a store that need not wait: puts the body there. `None`: it must wait.
    #[doc(hidden)]
    fn read_at_hand(
        &self,
        _key: &DocKey,
        _body: &mut Option<Encoded>,
    ) -> Option<Result<AtHand, StoreError>> {
        None
    }

    /// As [`commit`](Store::commit), of what its caller only lends.
    #[doc(hidden)]
    fn commit_draft<'draft>(&self, draft: Draft<'draft>) -> Drafted<'_, 'draft> {
        Drafted::Otherwise(self.commit(draft.into_commit()))
    }

    /// Whether it has a use for [`CallRef::anchor`].
    #[doc(hidden)]
    fn uses_anchors(&self) -> bool {
        true
    }

    /// A call that has met a [`CommitOutcome::Conflict`] ends without another commit: what the store
    /// keeps for its next run others may have. A courtesy to them; nothing depends on it.
    fn give_up(&self, _call: &CallRef) {}

    /// Allots a new client id, which has never been given out before, and opens its session.
    fn open_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        lease: Lease,
    ) -> StoreFuture<'a, Result<SessionId, StoreError>>;

    /// Lets a client go on with its session, in the same or in a later incarnation.
    fn resume_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        session: SessionId,
        lease: Lease,
    ) -> StoreFuture<'a, Result<Resume, StoreError>>;

    /// Moves the end of a session's lease to `lease.until`, never back.
    fn renew_session(
        &self,
        client: ClientId,
        lease: Lease,
    ) -> StoreFuture<'_, Result<(), StoreError>>;

    /// Closes a session at its client's wish: its records go, and nothing is ever executed for it
    /// again.
    fn close_session(&self, session: SessionId) -> StoreFuture<'_, Result<(), StoreError>>;

    /// Closes the sessions whose lease ended more than [`Lease::MARGIN`] before `now`. Returns how
    /// many there were.
    fn expire_sessions(&self, now: WallTime) -> StoreFuture<'_, Result<usize, StoreError>>;
}

/// Proof that a result is recorded in the store under its call's id, so that every attempt gets
/// the same. Only a store can make one, and only one of these is answered as *committed*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T>(T);

impl<T> Committed<T> {
    /// Only for what the store holds durably.
    pub(in crate::store) fn new(value: T) -> Committed<T> {
        Committed(value)
    }

    /// What was committed.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// Gives up the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// One write of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The document.
    pub key: DocKey,
    /// Its new body; `None` deletes it.
    pub body: Option<Encoded>,
}

/// Which call a store operation is for, and what its client has acknowledged.
#[derive(Clone, Debug)]
pub struct CallRef {
    /// The message id.
    pub id: CallId,
    /// The life of the client that sent it.
    pub incarnation: Incarnation,
    /// Which send of the call this is for. Among runs of one call the latest has the right of way.
    pub attempt: Attempt,
    /// When the call was first sent, as far as its server can tell. Among calls in conflict the
    /// oldest has the right of way.
    pub born: WallTime,
    /// The hash of its method and arguments.
    pub hash: ArgumentHash,
    /// The document that carries the call's record where records lie in documents. `None`: the
    /// call names none, and gets a document of its own where one is needed; or its store has no use
    /// for one.
    pub anchor: Option<DocKey>,
    /// The first call of the session that its client has not completed: everything below is
    /// acknowledged, its record may go, and it is never executed again.
    pub watermark: Seq,
}

/// A commit, as one run of a call asks for it.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The call.
    pub call: CallRef,
    /// Everything that the run read. The anchor is among it if the business read it.
    pub reads: Vec<ReadVersion>,
    /// Everything that the run wrote; each key once.
    pub writes: Vec<Write>,
    /// The result to record.
    pub result: Outcome,
}

/// How a recorded call ended.
// Its tag is a word, so that it is moved by words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// The business returned `Ok`: its encoded value.
    Success(Encoded),
    /// The business returned `Err`: its encoded error. It wrote nothing.
    BusinessError(Encoded),
    /// The call was ended before it took effect, and never will take effect.
    Aborted(AbortReason),
}

/// Why a call was ended before it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AbortReason {
    /// Its deadline passed.
    Deadline,
    /// Its caller cancelled it, or dropped it.
    Cancelled,
    /// The business could not run it: a panic, or a document that cannot be decoded.
    Failed,
}

/// What became of a [`Commit`].
// As for [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum CommitOutcome {
    /// Applied and recorded, just now.
    Committed(Committed<Outcome>),
    /// The id had a record already; nothing of this run was applied. This is the call's result.
    Recorded(Committed<Outcome>),
    /// A document that was read has changed. Nothing was applied; run again.
    Conflict,
    /// The id is not to be executed, now or ever.
    Refused(Refusal),
}

/// What [`Store::look_up`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// The call has ended so.
    Recorded(Committed<Outcome>),
    /// No record: it has not taken effect so far.
    Unknown,
    /// The id is not to be executed, now or ever.
    Refused(Refusal),
}

/// Why an id is never executed (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its client has acknowledged it, and its record is gone.
    Stale,
    /// Its record has another argument hash: the id was used for two different calls.
    IdReused,
    /// A later incarnation of its client has taken over.
    Fenced,
    /// Its session was closed, or its lease has ended.
    SessionClosed,
}

/// What [`Store::confirm`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// What was read is durable and was true at one moment.
    Consistent,
    /// Something changed between the reads. Read again.
    Changed,
}

/// What [`Store::resume_session`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The session goes on; calls below this watermark are acknowledged.
    Resumed {
        /// The highest watermark that the store has seen.
        watermark: Seq,
    },
    /// A later incarnation exists.
    Fenced {
        /// The current one.
        current: Incarnation,
    },
    /// There is no such session: closed, expired, of another identity or with another secret.
    Closed,
}

/// The lease of a session at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When it ends if nobody renews it.
    pub until: WallTime,
}

impl Lease {
    /// How long a session lives without traffic. Long enough for a client to sit out a failover or
    /// a night-time reboot, short enough that records of dead clients do not pile up.
    pub const DEFAULT: Duration = Duration::from_secs(30 * 60);
    /// How long past its end a lease is left alone: what the clocks of servers may differ by.
    pub const MARGIN: Duration = Duration::from_secs(60);

    /// A lease of this length from now on.
    #[must_use]
    pub fn from(now: WallTime, length: Duration) -> Lease {
        Lease { until: now + length }
    }
}

/// Why the store could not answer. None of these says anything about the server that asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing was done.
    #[error("the store is unavailable, nothing was done: {cause}")]
    Unavailable {
        /// What happened.
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// It may have been done or not; the call's record will tell.
    #[error("the store did not say whether the write happened: {cause}")]
    Unknown {
        /// What happened.
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The request is larger than the store takes. Nothing was done, and a retry will not help.
    #[error("{what} is {size} bytes, more than the store's limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// The tables of the local stores: keyed at random, as `std`'s, and faster for the short keys here.
type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

mod sealed {
    /// Only the stores of this crate may say that something is committed.
    pub trait Sealed {}
}
