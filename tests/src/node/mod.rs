//! A Couchbase node for tests: enough of the protocol that the official driver, unmodified,
//! connects and works.
//!
//! It is **not** Couchbase. It is one process that keeps documents in memory. It has one bucket, one
//! node in its map and no replicas, whatever its settings say: a write counts as durable at once,
//! and everything is gone when it stops. No queries, no expiry, no locks, no TLS. What it does not
//! know it refuses with the error that the protocol has for that. What it is for: the bytes, the
//! order of things and the errors that a client of a cluster meets, on demand.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Node`], its settings and what all its connections share |
//! | `packet.rs` | requests and responses as bytes; the names of operations and states |
//! | `connection.rs` | one connection: reading, answering, what a fault does to it |
//! | `session.rs` | what one connection has agreed on: features, user, bucket; the bootstrap |
//! | `sasl.rs` | who is it: PLAIN and SCRAM-SHA512 |
//! | `topology.rs` | the cluster's configuration, the bucket's settings, the error map |
//! | `manifest.rs` | scopes and collections |
//! | `data.rs` | documents and their CAS; get, set, add, replace, delete |
//! | `subdoc.rs` | lookups and mutations of parts of a document, attributes among them |
//! | `fault.rs` | what goes wrong, when and how often |
//! | `http.rs` | management requests, and the control of the node itself |

mod connection;
mod data;
mod fault;
mod http;
mod manifest;
mod packet;
mod sasl;
mod session;
mod subdoc;
mod topology;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::data::Data;
pub use self::fault::{Effect, Fault, FaultError, Faults, On};

/// The settings of a [`Node`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The only user.
    pub user: String,
    /// And the password.
    pub password: String,
    /// The only bucket.
    pub bucket: String,
    /// The bucket's minimum durability, in the words of the management API: `none`, `majority`,
    /// `majorityAndPersistActive` or `persistToMajority`. Default `majority`.
    pub durability: String,
    /// How many replicas the bucket says it has. Default 1.
    pub replicas: u32,
    /// What the bucket says its eviction policy is. Default `valueOnly`.
    pub eviction: String,
    /// What the bucket says its documents live, in seconds. Default 0: for ever.
    pub max_ttl: u32,
    /// How many vBuckets the map has. Default 1024, as in a cluster.
    pub vbuckets: u16,
    /// The port of the data service. Default 0: a free one.
    pub kv_port: u16,
    /// The port of management and control. Default 0: a free one.
    pub http_port: u16,
    /// Decides faults that happen by chance. Default 0.
    pub seed: u64,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            user: "tester".to_owned(),
            password: "secret".to_owned(),
            bucket: "test".to_owned(),
            durability: "majority".to_owned(),
            replicas: 1,
            eviction: "valueOnly".to_owned(),
            max_ttl: 0,
            vbuckets: 1024,
            kv_port: 0,
            http_port: 0,
            seed: 0,
        }
    }
}

/// A running node. It stops, and forgets everything, when it is dropped.
pub struct Node {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// What the connections of a node share.
pub(crate) struct Shared {
    config: NodeConfig,
    kv: SocketAddr,
    http: SocketAddr,
    /// The revision of the cluster's configuration.
    revision: AtomicU64,
    data: Mutex<Data>,
    faults: Faults,
    /// How many requests came, by the name of their operation.
    requests: Mutex<BTreeMap<&'static str, u64>>,
}

impl Node {
    /// Starts a node on loopback.
    ///
    /// # Errors
    /// If its ports cannot be had.
    pub async fn start(config: NodeConfig) -> io::Result<Node> {
        let kv = TcpListener::bind((Ipv4Addr::LOCALHOST, config.kv_port)).await?;
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, config.http_port)).await?;
        let shared = Arc::new(Shared {
            kv: kv.local_addr()?,
            http: http.local_addr()?,
            revision: AtomicU64::new(1),
            data: Mutex::new(Data::default()),
            faults: Faults::new(config.seed),
            requests: Mutex::default(),
            config,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(connection::accept(kv, Arc::clone(&shared)));
        tasks.spawn(http::accept(http, Arc::clone(&shared)));
        Ok(Node { shared, _tasks: tasks })
    }

    /// Where the driver connects to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("couchbase://{}", self.shared.kv)
    }

    /// As [`url`](Node::url), with user, password and bucket.
    #[must_use]
    pub fn full_url(&self) -> String {
        let NodeConfig { user, password, bucket, .. } = &self.shared.config;
        format!("couchbase://{user}:{password}@{}/{bucket}", self.shared.kv)
    }

    /// Where management and control are.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", self.shared.http)
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// How many requests came for one operation, such as `lookup-in`, `mutate-in` or `delete`.
    #[must_use]
    pub fn requests(&self, operation: &str) -> u64 {
        self.shared.requests().get(operation).copied().unwrap_or(0)
    }

    /// How many documents there are.
    #[must_use]
    pub fn documents(&self) -> usize {
        self.shared.data().len()
    }
}

impl Shared {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    fn change_map(&self) {
        self.revision.fetch_add(1, Ordering::Relaxed);
    }
}
