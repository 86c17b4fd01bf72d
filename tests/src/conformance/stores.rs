//! Harnesses of the stores that need no files.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rpc::store::cas::{CasStore, MAX_RECORDED_BYTES, MAX_STAGED_BYTES};
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use rpc::store::{MemoryStore, Store};
use rpc::time::WallTime;

use super::Harness;
use crate::disk::{Disk, Fault, Survival};
use crate::simulated::SimulatedBackend;

/// The memory store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Harness for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

/// The compare-and-swap store. Each handle is a store of its own on the same documents, as each
/// server of a cluster has.
#[derive(Debug, Default)]
pub struct Simulated {
    backend: Mutex<SimulatedBackend>,
    handles: AtomicU64,
}

impl Simulated {
    fn handle(&self) -> Arc<dyn Store> {
        let seed = self.handles.fetch_add(1, Ordering::Relaxed);
        let backend = self.backend.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Leases end only when the suite says so.
        Arc::new(CasStore::with_seed(backend, seed, || WallTime(0)))
    }
}

impl Harness for Simulated {
    async fn open(&self) -> Arc<dyn Store> {
        *self.backend.lock().unwrap_or_else(PoisonError::into_inner) = SimulatedBackend::new();
        self.handle()
    }

    async fn other_handle(&self, _: &Arc<dyn Store>) -> Arc<dyn Store> {
        self.handle()
    }

    fn limits(&self) -> (usize, usize) {
        (MAX_STAGED_BYTES, MAX_RECORDED_BYTES)
    }

    fn remembers_watermarks(&self) -> bool {
        false
    }

    fn tells_absences_apart(&self) -> bool {
        true
    }

    fn is_durable(&self) -> bool {
        true
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        drop(store);
        Some(self.handle())
    }
}

/// The embedded store on a simulated disk.
#[derive(Debug, Default)]
pub struct OnDisk {
    disk: Mutex<Disk>,
}

impl OnDisk {
    fn disk(&self) -> Disk {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn store(&self) -> Arc<dyn Store> {
        let disk = self.disk();
        let store = EmbeddedStore::open_on(disk.tree(), disk.log(), EmbeddedConfig::default());
        Arc::new(store.expect("the store opens"))
    }

    fn replace(&self, disk: Disk) {
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = disk;
    }
}

impl Harness for OnDisk {
    async fn open(&self) -> Arc<dyn Store> {
        self.replace(Disk::default());
        self.store()
    }

    fn is_durable(&self) -> bool {
        true
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        assert_eq!(Arc::strong_count(&store), 1, "only the last handle can be closed");
        drop(store);
        self.replace(self.disk().repaired());
        Some(self.store())
    }

    async fn after_power_cut(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        // What is lost is decided before the store can write anything more.
        let found = self.disk().after_power_cut(Survival::Nothing);
        drop(store);
        self.replace(found);
        Some(self.store())
    }

    fn fail_next_sync(&self) -> bool {
        self.disk().plan(1, Fault::SyncFailsLost);
        true
    }
}
