//! What the lock guards.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rpc::store::DocKey;

use super::tree::Snapshot;
use super::{Failure, Flush, Read, Write};

/// What stands before the changes of a frame.
pub(super) const HEAD: usize = 32;
/// A larger frame is not used again.
const MAX_SPARE: usize = 1 << 20;

/// Documents that the tree does not hold; a deletion is one, too.
pub(super) type Documents = HashMap<DocKey, Document, foldhash::fast::RandomState>;

pub(super) struct Document {
    pub(super) version: u64,
    pub(super) body: Option<Bytes>,
}

/// What becomes durable together: the changes after `after`, up to `last`.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) frame: Vec<u8>,
    pub(super) after: u64,
    pub(super) last: u64,
    pub(super) permits: usize,
    pub(super) flush: Arc<Flush>,
}

pub(super) struct State {
    pub(super) active: Generation,
    spare: Vec<u8>,
    young: Documents,
    /// On their way into the tree.
    pub(super) old: Option<Arc<Documents>>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) failure: Option<Failure>,
    /// Whether the writer thread sleeps until there is work.
    pub(super) writer_idle: bool,
    pub(super) closing: bool,
}

impl Generation {
    fn after(last: u64, mut frame: Vec<u8>) -> Generation {
        frame.clear();
        frame.resize(HEAD, 0);
        Generation { frame, after: last, last, permits: 0, flush: Arc::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.after == self.last
    }
}

impl State {
    pub(super) fn new(snapshot: Snapshot) -> State {
        State {
            active: Generation::after(snapshot.last, Vec::new()),
            spare: Vec::new(),
            young: Documents::default(),
            old: None,
            snapshot: Arc::new(snapshot),
            failure: None,
            writer_idle: false,
            closing: false,
        }
    }

    pub(super) fn recent(&self, key: &DocKey) -> Option<&Document> {
        let young = self.young.get(key);
        young.or_else(|| self.old.as_ref().and_then(|old| old.get(key)))
    }

    /// Whether all that was read is still so.
    pub(super) fn hold(&self, reads: &[Read]) -> Result<bool, redb::Error> {
        for read in reads {
            let current = match self.recent(&read.key) {
                Some(document) => document.body.as_ref().map(|_| document.version),
                None if read.snapshot == Some(self.snapshot.last) => continue,
                None => self.snapshot.document(&read.key)?.0,
            };
            if current != read.version {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn commit(&mut self, writes: Vec<Write>, permits: usize) -> Arc<Flush> {
        let active = &mut self.active;
        active.permits += permits;
        active.last += 1;
        active.frame.push(writes.len() as u8);
        for Write { key, body } in &writes {
            active.frame.push(key.as_str().len() as u8);
            active.frame.extend_from_slice(key.as_str().as_bytes());
            active.frame.push(u8::from(body.is_some()));
            if let Some(body) = body {
                active.frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
                active.frame.extend_from_slice(body);
            }
        }
        let (version, flush) = (active.last, Arc::clone(&active.flush));
        self.put(version, writes);
        flush
    }

    pub(super) fn put(&mut self, version: u64, writes: impl IntoIterator<Item = Write>) {
        for Write { key, body } in writes {
            self.young.insert(key, Document { version, body });
        }
    }

    /// What was found in the log is durable.
    pub(super) fn recovered(&mut self, last: u64) {
        self.active = Generation::after(last, Vec::new());
    }

    pub(super) fn begin_flush(&mut self) -> Generation {
        let next = Generation::after(self.active.last, std::mem::take(&mut self.spare));
        std::mem::replace(&mut self.active, next)
    }

    pub(super) fn end_flush(&mut self, frame: Vec<u8>) {
        if frame.capacity() <= MAX_SPARE {
            self.spare = frame;
        }
    }

    pub(super) fn begin_checkpoint(&mut self) -> Arc<Documents> {
        let documents = Arc::new(std::mem::take(&mut self.young));
        self.old = Some(Arc::clone(&documents));
        documents
    }
}
