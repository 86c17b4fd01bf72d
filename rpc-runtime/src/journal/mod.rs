//! Where a client remembers its calls across a crash: a few rows, written before they matter.
//!
//! A client without a journal that crashes begins a new session, and nobody can tell any more how the
//! calls ended that it had under way. A client with one writes each write call down before its first
//! send, and its outcome before anybody is told; after a crash it goes on with its session, under
//! the next incarnation, and sends what is unanswered again under its old number.
//!
//! What stands in the rows is the protocol's affair (`crate::protocol::client`). A journal keeps
//! them: [`FileJournal`] in a file, or whatever implements [`Journal`].
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the trait [`Journal`] |
//! | `error.rs` | [`JournalError`] |
//! | `file.rs` | [`FileJournal`], in a file of the embedded store's engine |

mod error;
#[cfg(feature = "embedded")]
mod file;

use std::future::Future;
use std::pin::Pin;

pub use self::error::JournalError;
#[cfg(feature = "embedded")]
pub use self::file::FileJournal;

/// Keeps the rows of one client. One client at a time may use it: whoever has given it to a client
/// gives it to no other before that one is gone.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use rpc::journal::{Change, Journal, JournalFuture};
///
/// /// Remembers for as long as the process lives: for tests.
/// #[derive(Default)]
/// struct InMemory(Mutex<BTreeMap<u64, Vec<u8>>>);
///
/// impl Journal for InMemory {
///     fn load(&self) -> JournalFuture<'_, Vec<(u64, Vec<u8>)>> {
///         let rows = self.0.lock().unwrap().clone().into_iter().collect();
///         Box::pin(async { Ok(rows) })
///     }
///
///     fn write(&self, changes: Vec<Change>) -> JournalFuture<'_, ()> {
///         let mut rows = self.0.lock().unwrap();
///         for Change { key, value } in changes {
///             match value {
///                 Some(value) => rows.insert(key, value),
///                 None => rows.remove(&key),
///             };
///         }
///         Box::pin(async { Ok(()) })
///     }
/// }
/// ```
pub trait Journal: Send + Sync + 'static {
    /// All rows, in any order. Asked for once, before anything is written.
    ///
    /// # Errors
    /// If they cannot be read: the client is not made.
    fn load(&self) -> JournalFuture<'_, Vec<(u64, Vec<u8>)>>;

    /// Makes changes, in their order: all of them or none, also if the machine loses its power; and
    /// durable once it returns. The next ones come only after that.
    ///
    /// # Errors
    /// If they may not be durable. The client then ends: what it cannot write down, it must not do.
    fn write(&self, changes: Vec<Change>) -> JournalFuture<'_, ()>;
}

/// A row that is put, in place of one with the same key if there is one, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Names the row.
    pub key: u64,
    /// Its new value; `None`: it goes, if it is there.
    pub value: Option<Vec<u8>>,
}

/// A boxed future of a journal.
pub type JournalFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send + 'a>>;
