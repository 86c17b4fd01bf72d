//! A generation: all changes that become durable together.
//!
//! Changes collect in the *active* generation. When the writer thread is free it takes that whole
//! generation (it is then *flushing*) and a new active one begins. Whoever waits for any of the
//! generation's changes waits for one and the same [`Flush`].

use std::sync::Arc;

use super::frame;
use crate::store::flush::Flush;

/// The number of a change in the order in which changes were applied. That of a commit is the
/// [`Version`](crate::store::Version) of every document that it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lsn(pub(super) u64);

/// What was applied in memory and is not durable yet.
#[derive(Debug)]
pub(super) struct Generation {
    /// Its changes, in their order, as the log will hold them.
    pub(super) frame: Vec<u8>,
    pub(super) span: Span,
    /// The room that its commits take of
    /// [`max_undurable_bytes`](super::EmbeddedConfig::max_undurable_bytes).
    pub(super) permits: usize,
}

/// Which changes a generation has, and their way to the disk.
#[derive(Clone, Debug)]
pub(super) struct Span {
    /// The last change before it.
    pub(super) after: Lsn,
    /// The last change in it.
    pub(super) last: Lsn,
    pub(super) flush: Arc<Flush>,
}

impl Generation {
    /// An empty generation that follows the change `last`; it uses the room of an old frame.
    pub(super) fn after(last: Lsn, spare: Vec<u8>) -> Generation {
        let span = Span { after: last, last, flush: Arc::default() };
        Generation { frame: frame::begin(spare), span, permits: 0 }
    }

    /// The number of its next change.
    pub(super) fn next(&mut self) -> Lsn {
        self.span.last = Lsn(self.span.last.0 + 1);
        self.span.last
    }
}

impl Span {
    /// Whether the change is part of it.
    pub(super) fn covers(&self, lsn: Lsn) -> bool {
        self.after < lsn && lsn <= self.last
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.after == self.last
    }
}
