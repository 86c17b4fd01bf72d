//! A world for scenarios: the real client and the real servers over one memory store, joined by a
//! scripted network, on virtual time.
//!
//! A scenario is an async function of a [`World`]. [`holds`] runs it; [`must_fail_without`] breaks a
//! rule of the protocol first, and expects the scenario to notice.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`World`]: its servers, clients and store |
//! | `run.rs` | [`holds`] and [`must_fail_without`] |
//! | `network.rs`, `connection.rs` | the [`Network`], which cuts streams into frames and obeys a script |
//! | `frame.rs` | a [`Frame`] on its way, and its [`Fate`] |
//! | `trace.rs` | what happened, to assert on and to print |
//! | `journal.rs` | what a client remembers across a crash |
//! | `ledger.rs` | the service that is called |
//! | `gates.rs` | where its calls can be made to wait |

mod connection;
mod frame;
mod gates;
mod journal;
mod ledger;
mod network;
mod run;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rpc::client::Stub as _;
use rpc::store::{MemoryStore, Store};
use rpc::{ClientConfig, ClientStats, DocumentKey as _, ServerConfig, ServerHandle, ServerStats};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use self::frame::{Fate, Frame};
pub use self::gates::{Gate, Gates, Point};
pub use self::journal::Disk;
pub use self::ledger::{
    Account, Book, Insufficient, Ledger, LedgerClient, LedgerOn, LedgerServer, Sum,
};
pub use self::network::{Door, Network, Wire};
pub use self::run::{
    contained, fails_without, holds, must_fail_without, quietly, quietly_with_threads, silently,
    trace_of,
};
pub use self::trace::Trace;

/// Clients, servers and a store, joined by a scripted network.
#[derive(Debug)]
pub struct World {
    /// What joins them.
    pub network: Network,
    /// What all servers share.
    pub store: Arc<MemoryStore>,
    /// Where calls can be made to wait.
    pub gates: Arc<Gates>,
    servers: BTreeMap<String, Host>,
}

/// One server while it runs.
struct Host {
    handle: ServerHandle<LedgerServer<LedgerOn>>,
    task: JoinHandle<()>,
    shutdown: Option<oneshot::Sender<()>>,
}

/// How long a server is waited for before the first answer was measured.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// How long an acknowledgement waits for a message: so short that many travel alone.
const ACK_DELAY: Duration = Duration::from_millis(20);

impl World {
    fn new(network: Network) -> World {
        World {
            network,
            store: Arc::new(MemoryStore::new()),
            gates: Arc::default(),
            servers: BTreeMap::new(),
        }
    }

    /// Starts servers with default limits.
    pub fn start(&mut self, servers: &[&str]) {
        for server in servers {
            self.start_with(server, ServerConfig::default());
        }
    }

    /// Starts a server, with empty tables, in place of one of this name that was stopped.
    pub fn start_with(&mut self, name: &str, config: ServerConfig) {
        let ledger = LedgerOn::new(name, &self.gates);
        let store: Arc<dyn Store> = Arc::clone(&self.store) as Arc<dyn Store>;
        let server = rpc::Server::builder(LedgerServer::new(ledger), store)
            .config(config)
            .listen_on(self.network.listen(name));
        let handle = server.handle();
        let (shutdown, asked) = oneshot::channel::<()>();
        let task = tokio::spawn(server.serve_with_shutdown(async {
            if asked.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        let host = Host { handle, task, shutdown: Some(shutdown) };
        if self.servers.insert(name.to_owned(), host).is_some() {
            self.network.note(format!("{name} starts again"));
        }
    }

    /// Stops a server as a crash does: its tables are gone, its connections break.
    pub async fn crash(&mut self, server: &str) {
        self.network.note(format!("{server} crashes"));
        self.servers[server].task.abort();
        self.pause(1).await;
    }

    /// Asks a server to shut down in order.
    pub fn shut_down(&mut self, server: &str) {
        self.network.note(format!("{server} shuts down"));
        let host = self.servers.get_mut(server).expect("it was started");
        let asked = host.shutdown.take().map(|shutdown| shutdown.send(()));
        assert_eq!(asked, Some(Ok(())), "a running server is shut down once");
    }

    /// Whether a server's future has ended.
    #[must_use]
    pub fn has_ended(&self, server: &str) -> bool {
        self.servers[server].task.is_finished()
    }

    /// What a server has counted.
    #[must_use]
    pub fn server_stats(&self, server: &str) -> ServerStats {
        self.servers[server].handle.stats()
    }

    /// The settings that clients have unless they are given others.
    #[must_use]
    pub fn client_config() -> ClientConfig {
        ClientConfig::default()
            .seed(Some(7))
            .initial_timeout(TIMEOUT)
            .deadline(Duration::from_secs(20))
            .ack_delay(ACK_DELAY)
    }

    /// A client of these servers, connected to all of them.
    pub async fn client(&self, name: &str, servers: &[&str]) -> LedgerClient {
        self.client_with(name, servers, World::client_config()).await
    }

    /// A client with its own settings, connected to all of these servers.
    pub async fn client_with(
        &self,
        name: &str,
        servers: &[&str],
        config: ClientConfig,
    ) -> LedgerClient {
        let client = rpc::Client::builder()
            .config(config)
            .connector(self.network.connector(name))
            .connect(servers.iter().copied())
            .await
            .expect("at least one server runs");
        self.pause(1).await;
        client
    }

    /// A client with a journal on this disk, connected to all of these servers.
    pub async fn client_on(&self, name: &str, disk: &Disk, servers: &[&str]) -> LedgerClient {
        let client = rpc::Client::builder()
            .config(World::client_config())
            .connector(self.network.connector(name))
            .journal(disk.next_life())
            .connect(servers.iter().copied())
            .await
            .expect("at least one server runs");
        self.pause(1).await;
        client
    }

    /// The process of a client dies, with its journal as it is on the disk: not a word of goodbye.
    pub async fn kill(&self, name: &str, disk: &Disk, client: LedgerClient, servers: &[&str]) {
        self.network.note(format!("{name} dies"));
        disk.end_life();
        for server in servers {
            self.network.cut(name, server);
        }
        drop(client);
        self.pause(1).await;
    }

    /// Lets virtual milliseconds pass.
    pub async fn pause(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// What the store holds for an account.
    pub async fn book(&self, account: &str) -> Book {
        let key = Account::from(account).doc_key().expect("scenarios have short names");
        let document = self.store.read(&key).await.expect("a memory store always answers");
        document.body.map_or_else(Book::default, |body| {
            serde_json::from_slice(&body).expect("only the ledger writes books")
        })
    }

    /// Asserts which calls have changed an account, each time they did.
    pub async fn assert_effects(&self, account: &str, references: &[&str]) {
        assert_eq!(self.book(account).await.references, references, "the effects on {account}");
    }

    /// Asserts on which servers the business ran a reference.
    pub fn assert_runs(&self, reference: &str, servers: &[&str]) {
        assert_eq!(self.gates.runs(reference), servers, "the runs of {reference}");
    }
}

/// What a client has counted.
#[must_use]
pub fn stats(client: &LedgerClient) -> ClientStats {
    client.client().stats()
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("task", &self.task).finish_non_exhaustive()
    }
}
