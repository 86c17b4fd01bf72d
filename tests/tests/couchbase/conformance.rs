//! The conformance suite of all stores, on the CAS store over Couchbase.
//!
//! With `COUCHBASE_URL` set (and user, password and bucket, see `docs/couchbase.md`) it runs on that
//! cluster, each test in a scope of its own that is removed when the test ends, and otherwise on a
//! test node.

use std::sync::{Arc, Mutex, Once};

use rpc::store::Store;
use rpc::store::cas::{CasStore, MAX_RECORDED_BYTES, MAX_STAGED_BYTES};
use rpc::store::couchbase::{CouchbaseBackend, CouchbaseConfig};
use rpc::time::WallTime;
use rpc_tests::conformance::Harness;
use rpc_tests::node::{Node, NodeConfig};
use rpc_tests::own_scope::{OwnScope, unique};

/// Each handle is a store of its own on the same documents, as each server of a cluster has.
#[derive(Default)]
struct Couchbase {
    place: Mutex<Option<(CouchbaseBackend, Place)>>,
}

/// Where the documents lie, for as long as this is held.
#[expect(clippy::large_enum_variant, reason = "one per test")]
enum Place {
    Node(#[expect(dead_code, reason = "it runs as long as it is held")] Node),
    Scope(#[expect(dead_code, reason = "it stays as long as it is held")] OwnScope),
}

impl Couchbase {
    fn handle(&self) -> Arc<dyn Store> {
        let place = self.place.lock().unwrap();
        let (backend, _) = place.as_ref().expect("it was opened");
        // Leases end only when the suite says so.
        Arc::new(CasStore::with_seed(backend.clone(), unique(), || WallTime(0)))
    }
}

impl Harness for Couchbase {
    async fn open(&self) -> Arc<dyn Store> {
        let place = match CouchbaseConfig::from_env().unwrap() {
            Some(config) => on_cluster(config).await,
            None => on_node().await,
        };
        *self.place.lock().unwrap() = Some(place);
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

async fn on_node() -> (CouchbaseBackend, Place) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        println!("skipped on a real cluster, COUCHBASE_URL is not set: on a test node")
    });
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let config = CouchbaseConfig::from_url(&node.full_url()).unwrap();
    (CouchbaseBackend::connect(config).await.unwrap(), Place::Node(node))
}

async fn on_cluster(config: CouchbaseConfig) -> (CouchbaseBackend, Place) {
    let scope = OwnScope::create(config).await;
    let config = scope.config().clone();
    (CouchbaseBackend::connect(config).await.unwrap(), Place::Scope(scope))
}

rpc_tests::conformance_suite!(Couchbase::default());
