//! A generation: all commits that become durable together.
//!
//! Commits collect in the *active* generation. When the writer thread is free it takes that whole
//! generation (it is then *flushing*) and a new active one begins. So a document that is written a
//! hundred times while an fsync runs is written to the file once, and whoever waits for any of
//! the generation's commits waits for one and the same [`Flush`].

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::error::FlushError;
use crate::id::{CallId, ClientId, Seq};
use crate::store::sessions::Record;
use crate::store::{DocKey, Versioned};

/// The number of a change in the order in which changes were applied. It is the
/// [`Version`](crate::store::Version) of every document that a commit wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lsn(pub(super) u64);

/// What was applied in memory and is not durable yet.
#[derive(Debug)]
pub(super) struct Generation {
    /// The newest version of each document written in it; a deletion is one too.
    pub(super) documents: HashMap<DocKey, Versioned>,
    /// The records made in it.
    pub(super) records: HashMap<CallId, Record>,
    /// The sessions whose row it changes, each with its watermark before the first change.
    pub(super) sessions: HashMap<ClientId, Seq>,
    /// The last change before it.
    pub(super) after: Lsn,
    /// The last change in it.
    pub(super) last: Lsn,
    /// The room that its commits take of
    /// [`max_undurable_bytes`](super::EmbeddedConfig::max_undurable_bytes).
    pub(super) permits: usize,
    /// Its way to the disk.
    pub(super) flush: Arc<Flush>,
}

impl Generation {
    /// An empty generation that follows the change `last`.
    pub(super) fn after(last: Lsn) -> Generation {
        Generation {
            documents: HashMap::new(),
            records: HashMap::new(),
            sessions: HashMap::new(),
            after: last,
            last,
            permits: 0,
            flush: Arc::default(),
        }
    }

    /// Whether this change is part of it.
    pub(super) fn covers(&self, lsn: Lsn) -> bool {
        self.after < lsn && lsn <= self.last
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.sessions.is_empty()
    }
}

/// The wait until a generation is durable, shared by all who wait for it.
#[derive(Debug, Default)]
pub(super) struct Flush {
    end: OnceLock<Result<(), FlushError>>,
    ended: Notify,
}

impl Flush {
    /// Waits for the end of the flush. Needs no runtime, and may be dropped at any time.
    pub(super) async fn wait(&self) -> Result<(), FlushError> {
        // Made before the look, so that an end between the look and the wait is not missed.
        let ended = self.ended.notified();
        if let Some(end) = self.end.get() {
            return end.clone();
        }
        ended.await;
        self.end.get().expect("the end is set before it is notified").clone()
    }

    /// Says how the flush ended. Only the first end counts.
    pub(super) fn finish(&self, end: Result<(), FlushError>) {
        if self.end.set(end).is_ok() {
            self.ended.notify_waiters();
        }
    }
}
