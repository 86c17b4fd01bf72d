//! The conformance suite on the compare-and-swap store, over a simulated backend.

use std::sync::Arc;
use std::sync::Mutex;

use rpc::store::Store;
use rpc::store::cas::{CasStore, MAX_RECORDED_BYTES, MAX_STAGED_BYTES};
use rpc::time::WallTime;
use rpc_tests::conformance::Harness;
use rpc_tests::simulated::SimulatedBackend;

/// Each handle is a store of its own on the same documents, as each server of a cluster has.
#[derive(Default)]
struct Simulated {
    backend: Mutex<SimulatedBackend>,
    handles: std::sync::atomic::AtomicU64,
}

impl Simulated {
    fn handle(&self) -> Arc<dyn Store> {
        let seed = self.handles.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let backend = self.backend.lock().unwrap().clone();
        // Leases end only when the suite says so.
        Arc::new(CasStore::with_seed(backend, seed, || WallTime(0)))
    }
}

impl Harness for Simulated {
    async fn open(&self) -> Arc<dyn Store> {
        *self.backend.lock().unwrap() = SimulatedBackend::new();
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

rpc_tests::conformance_suite!(Simulated::default());
