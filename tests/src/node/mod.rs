//! A Couchbase node for tests: enough of the protocol that the official driver, unmodified,
//! connects and works.
//!
//! It is **not** Couchbase. It is one process that keeps documents in memory. It has one bucket and no
//! replicas, whatever its settings say: a write counts as durable at once, and everything is gone
//! when it stops. Its map may name several data servers, each with a port and vBuckets of its own:
//! each refuses what the map gives to another one, and vBuckets move between them, but all of them
//! are this process. No queries, no expiry, no locks. What it does not know it refuses with the
//! error that the protocol has for that. What it is for: the bytes, the order of things and the
//! errors that a client of a cluster meets, on demand.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Node`], its settings and what all its connections share |
//! | `packet.rs` | requests and responses as bytes; the names of operations and states |
//! | `connection.rs` | one connection: reading, answering, what a fault does to it |
//! | `session.rs` | what one connection has agreed on: features, user, bucket; the bootstrap |
//! | `sasl.rs` | who is it: PLAIN and SCRAM-SHA512 |
//! | `tls.rs` | a certificate of its own, and who vouches for it |
//! | `map.rs` | which data server has which vBucket |
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
mod map;
mod packet;
mod sasl;
mod session;
mod subdoc;
mod tls;
mod topology;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::data::Data;
pub use self::fault::{Effect, Fault, FaultError, Faults, On};
use self::map::Map;
use self::tls::Certificate;

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
    /// How many data servers the map names, which share its vBuckets. Default 1.
    pub data_servers: u16,
    /// Whether it speaks TLS too, with a certificate made for this run. Default: no.
    pub tls: bool,
    /// The port of the first data server, without TLS. Default 0: a free one.
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
            data_servers: 1,
            tls: false,
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
    /// The data servers that the map names.
    servers: Vec<Server>,
    map: Mutex<Map>,
    data: Mutex<Data>,
    faults: Faults,
    /// How many requests came to each data server, by the name of their operation.
    requests: Mutex<BTreeMap<(DataServer, &'static str), u64>>,
    /// Who vouches for its certificate, as PEM.
    ca: Option<String>,
}

/// One of the data servers of the map, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DataServer(usize);

/// Where a data server listens. A driver tells servers apart by their management ports.
#[derive(Clone, Copy, Debug)]
struct Server {
    kv: Ports,
    http: Ports,
}

/// Where a service listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: SocketAddr,
    tls: Option<SocketAddr>,
}

/// A service's listeners.
struct Listeners {
    plain: TcpListener,
    tls: Option<TcpListener>,
}

impl Listeners {
    async fn bind(port: u16, with_tls: bool) -> io::Result<Listeners> {
        let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let tls = match with_tls {
            true => Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
            false => None,
        };
        Ok(Listeners { plain, tls })
    }

    fn ports(&self) -> io::Result<Ports> {
        let tls = self.tls.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(Ports { plain: self.plain.local_addr()?, tls })
    }
}

impl Node {
    /// Starts a node on loopback.
    ///
    /// # Errors
    /// If its ports cannot be had.
    pub async fn start(config: NodeConfig) -> io::Result<Node> {
        let certificate = config.tls.then(Certificate::new).transpose()?;
        let mut listeners = Vec::new();
        for number in 0..config.data_servers.max(1) {
            let (kv, http) = if number == 0 { (config.kv_port, config.http_port) } else { (0, 0) };
            let kv = Listeners::bind(kv, config.tls).await?;
            listeners.push((kv, Listeners::bind(http, config.tls).await?));
        }
        let servers = listeners
            .iter()
            .map(|(kv, http)| io::Result::Ok(Server { kv: kv.ports()?, http: http.ports()? }));
        let shared = Arc::new(Shared {
            servers: servers.collect::<io::Result<_>>()?,
            map: Mutex::new(Map::new(config.vbuckets, listeners.len())),
            data: Mutex::new(Data::default()),
            faults: Faults::new(config.seed),
            requests: Mutex::default(),
            ca: certificate.as_ref().map(|certificate| certificate.ca.clone()),
            config,
        });
        let acceptor = certificate.map(|certificate| certificate.acceptor);
        let mut tasks = JoinSet::new();
        for (number, (kv, http)) in listeners.into_iter().enumerate() {
            let server = DataServer(number);
            tasks.spawn(connection::accept(kv.plain, None, server, Arc::clone(&shared)));
            tasks.spawn(http::accept(http.plain, None, server, Arc::clone(&shared)));
            if let (Some(kv), Some(http)) = (kv.tls, http.tls) {
                let (tls, shared) = (acceptor.clone(), Arc::clone(&shared));
                tasks.spawn(connection::accept(kv, tls.clone(), server, Arc::clone(&shared)));
                tasks.spawn(http::accept(http, tls, server, shared));
            }
        }
        Ok(Node { shared, _tasks: tasks })
    }

    /// Where the driver connects to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("couchbase://{}", self.shared.servers[0].kv.plain)
    }

    /// As [`url`](Node::url), with user, password and bucket.
    #[must_use]
    pub fn full_url(&self) -> String {
        let NodeConfig { user, password, bucket, .. } = &self.shared.config;
        format!("couchbase://{user}:{password}@{}/{bucket}", self.shared.servers[0].kv.plain)
    }

    /// As [`full_url`](Node::full_url), with TLS; `None` without [`NodeConfig::tls`].
    #[must_use]
    pub fn tls_url(&self) -> Option<String> {
        let NodeConfig { user, password, bucket, .. } = &self.shared.config;
        let address = self.shared.servers[0].kv.tls?;
        Some(format!("couchbases://{user}:{password}@{address}/{bucket}"))
    }

    /// The certificate, as PEM, of who vouches for this node's; `None` without [`NodeConfig::tls`].
    #[must_use]
    pub fn ca(&self) -> Option<&str> {
        self.shared.ca.as_deref()
    }

    /// Where management and control are.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", self.shared.servers[0].http.plain)
    }

    /// From now on the data server `to` has all vBuckets that `from` had. Servers count from 0;
    /// one that does not exist has none, and gets none.
    pub fn move_vbuckets(&self, from: usize, to: usize) {
        self.shared.map().hand_over(DataServer(from), DataServer(to));
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// How many requests came for one operation, such as `lookup-in`, `mutate-in` or `delete`.
    #[must_use]
    pub fn requests(&self, operation: &str) -> u64 {
        (0..self.shared.servers.len()).map(|server| self.requests_to(server, operation)).sum()
    }

    /// The same, to one of the data servers.
    #[must_use]
    pub fn requests_to(&self, server: usize, operation: &str) -> u64 {
        let counts = self.shared.requests();
        let own = counts.iter().filter(|((at, name), _)| at.0 == server && *name == operation);
        own.map(|(_, count)| count).sum()
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

    fn requests(&self) -> MutexGuard<'_, BTreeMap<(DataServer, &'static str), u64>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
