//! The conformance suite of all stores, on the CAS store over Couchbase.
//!
//! With `COUCHBASE_URL` set (and user, password and bucket, see `docs/couchbase.md`) it runs on that
//! cluster, each test in a scope of its own that is removed when the test ends, and otherwise on a
//! test node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{SystemTime, UNIX_EPOCH};

use couchbase::authenticator::PasswordAuthenticator;
use couchbase::cluster::Cluster;
use couchbase::options::cluster_options::ClusterOptions;
use rpc::store::Store;
use rpc::store::cas::{CasStore, MAX_RECORDED_BYTES, MAX_STAGED_BYTES};
use rpc::store::couchbase::{CouchbaseBackend, CouchbaseConfig};
use rpc::time::WallTime;
use rpc_tests::conformance::Harness;
use rpc_tests::node::{Node, NodeConfig};

const COLLECTION: &str = "suite";

/// Each handle is a store of its own on the same documents, as each server of a cluster has.
#[derive(Default)]
struct Couchbase {
    place: Mutex<Option<(CouchbaseBackend, Place)>>,
}

/// Where the documents lie, for as long as this is held.
enum Place {
    Node(#[expect(dead_code, reason = "it runs as long as it is held")] Node),
    Scope(#[expect(dead_code, reason = "it stays as long as it is held")] Box<OwnScope>),
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
    let config = scope.config.clone();
    (CouchbaseBackend::connect(config).await.unwrap(), Place::Scope(Box::new(scope)))
}

/// A scope of a real cluster that goes with all that is in it when this is dropped.
struct OwnScope {
    config: CouchbaseConfig,
}

impl OwnScope {
    async fn create(config: CouchbaseConfig) -> OwnScope {
        let scope = OwnScope { config: config.scope(format!("rpc_test_{:x}", unique())) };
        let scope = OwnScope { config: scope.config.clone().collection(COLLECTION) };
        let cluster = scope.cluster().await;
        let manager = cluster.bucket(&scope.config.bucket).collections();
        manager.create_scope(&scope.config.scope, None).await.expect("a scope can be made");
        manager
            .create_collection(&scope.config.scope, COLLECTION, None, None)
            .await
            .expect("a collection can be made");
        scope
    }

    async fn cluster(&self) -> Cluster {
        let login = PasswordAuthenticator::new(&self.config.user, &self.config.password);
        Cluster::connect(&self.config.url, ClusterOptions::new(login.into())).await.unwrap()
    }
}

impl Drop for OwnScope {
    fn drop(&mut self) {
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let cluster = self.cluster().await;
                    let manager = cluster.bucket(&self.config.bucket).collections();
                    if let Err(error) = manager.drop_scope(&self.config.scope, None).await {
                        println!("the scope {} stays: {error}", self.config.scope);
                    }
                });
            });
        });
    }
}

/// A number that no other process and no other call has got, as good as certainly.
fn unique() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    u64::try_from(now & u128::from(u64::MAX)).unwrap()
        ^ (count << 48)
        ^ u64::from(std::process::id())
}

rpc_tests::conformance_suite!(Couchbase::default());
