//! The rules of the embedded store, where neither a thread nor a real disk comes in between.

mod crashes;
#[cfg(unix)]
mod directories;
mod segments;
mod steps;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::open::{self, Opened};
use super::{EmbeddedConfig, EmbeddedStore};
use crate::id::{ArgumentHash, Attempt, CallId, Identity, Seq, SessionId, SessionSecret};
use crate::store::{CallRef, Commit, DocKey, Encoded, Lease, Outcome, ReadVersion, Write};
use crate::time::WallTime;

const LEASE: Lease = Lease { until: WallTime(u64::MAX) };
const SECRET: SessionSecret = SessionSecret([3; 16]);

/// A file in memory, which a test can copy as a crash would leave it.
#[derive(Clone, Debug, Default)]
struct Image(Arc<Mutex<Content>>);

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// Where it was written to, and how much.
    written: Vec<(u64, usize)>,
    /// What reads fail with.
    read_error: Option<io::ErrorKind>,
    /// Whether syncs fail.
    is_broken: bool,
}

impl Image {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn copy(&self) -> Image {
        Image(Arc::new(Mutex::new(self.lock().clone())))
    }

    fn failing(&self, kind: io::ErrorKind) -> Image {
        let copy = self.copy();
        copy.lock().read_error = Some(kind);
        copy
    }

    /// What was written since it was asked last.
    fn written(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.lock().written)
    }
}

impl StorageBackend for Image {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.lock();
        if let Some(kind) = content.read_error {
            return Err(kind.into());
        }
        let start = offset as usize;
        let found = content.bytes.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lock().bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.lock().is_broken {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut content, start) = (self.lock(), offset as usize);
        content.bytes[start..start + data.len()].copy_from_slice(data);
        content.written.push((offset, data.len()));
        Ok(())
    }
}

/// The two files of a store.
#[derive(Clone, Debug, Default)]
struct Files {
    tree: Image,
    log: Image,
}

impl Files {
    fn parts(&self, log_bytes: usize) -> Opened {
        let config = EmbeddedConfig::default().log_bytes(log_bytes);
        let (tree, log) = (self.tree.clone(), Box::new(self.log.clone()));
        open::backends(tree, Some(log), "in memory".into(), &config).unwrap()
    }

    fn store(&self, log_bytes: usize) -> EmbeddedStore {
        let config = EmbeddedConfig::default().log_bytes(log_bytes);
        EmbeddedStore::open_on(self.tree.clone(), self.log.clone(), config).unwrap()
    }

    /// What a crash would leave now.
    fn after_crash(&self) -> Files {
        // In this order: a checkpoint may be under way, but nothing that goes to the log.
        let log = self.log.copy();
        Files { tree: self.tree.copy(), log }
    }
}

fn identity() -> Identity {
    Identity::named("client")
}

fn key(name: &str) -> DocKey {
    DocKey::stored(&format!("doc:{name}"))
}

fn call(session: SessionId, seq: u64) -> CallRef {
    CallRef {
        id: CallId { client: session.client, seq: Seq(seq) },
        incarnation: session.incarnation,
        attempt: Attempt::FIRST,
        born: WallTime(0),
        hash: ArgumentHash(seq),
        anchor: None,
        watermark: Seq::FIRST,
    }
}

/// A call that writes this document.
fn put(session: SessionId, seq: u64, name: &str, body: &[u8]) -> Commit {
    let write = Write { key: key(name), body: Some(Encoded::from(body)) };
    let result = Outcome::Success(Encoded::empty());
    Commit { call: call(session, seq), reads: Vec::new(), writes: vec![write], result }
}

fn reading(commit: Commit, read: ReadVersion) -> Commit {
    Commit { reads: vec![read], ..commit }
}

#[test]
fn each_setting_sets_its_own() {
    let config = EmbeddedConfig::default()
        .cache_bytes(1)
        .max_undurable_bytes(2)
        .log_bytes(3)
        .sync_where_called(true)
        .max_sessions(4)
        .check_on_open(false);
    assert_eq!((config.cache_bytes, config.max_undurable_bytes, config.log_bytes), (1, 2, 3));
    assert_eq!((config.max_sessions, config.check_on_open), (4, false));
    assert!(config.sync_where_called);
    assert_eq!(config.max_undurable_bytes(0).max_undurable_bytes, 1);
    assert_eq!(EmbeddedConfig::default().cache_bytes(1).max_sessions(9).cache_bytes, 1);
}
