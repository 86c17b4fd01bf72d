//! Two real servers with the real dispatch over one simulated store, and a client of both, on a
//! scripted network. A server that crashes comes back with empty tables.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc::ClientConfig;
use rpc::store::cas::{CasBackend as _, CasStore};
use rpc::store::{DocKey, Store};
use rpc::time::WallTime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backend::Steps;
use super::control::{Control, Life, Struck};
use crate::simulated::SimulatedBackend;
use crate::world::{Book, Gates, LedgerClient, LedgerOn, LedgerServer, Network, stats};

/// The two servers.
pub(super) const SERVERS: [&str; 2] = ["A", "B"];
/// How long a server is down after a crash: longer than its client needs to go to the other one.
const DOWN: Duration = Duration::from_millis(100);
/// How long a server that stands still does so at most.
const STILL: Duration = Duration::from_secs(8);
/// The most calls in flight: few, so that a place that is not given back is missed.
pub(super) const MAX_IN_FLIGHT: u32 = 4;
/// How long a call may take; longer than all that can be planned against it takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long the servers have to take the client back after the last blow.
const TAKEN_BACK: Duration = Duration::from_secs(30);

/// Everything of one run but the calls.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) network: Network,
    pub(super) store: SimulatedBackend,
    pub(super) control: Arc<Control>,
    pub(super) gates: Arc<Gates>,
    running: Mutex<HashMap<Arc<str>, JoinHandle<()>>>,
}

/// What every run's wall clock begins with.
const BEGINNING: WallTime = WallTime(1_800_000_000_000);
/// How far the wall clock of the second server is ahead of the first one's: within the margin.
const SKEW: Duration = Duration::from_secs(1);

thread_local! {
    /// When this thread's run began.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// How far the wall clock of this thread's run was put forward, in milliseconds.
    static AHEAD: Cell<u64> = const { Cell::new(0) };
}

/// The wall clock of a run.
pub(super) fn wall() -> WallTime {
    let since = BEGAN.get().map_or(Duration::ZERO, |began| began.elapsed());
    BEGINNING + since + Duration::from_millis(AHEAD.get())
}

/// The wall clock of a server.
fn wall_of(server: &str) -> fn() -> WallTime {
    if server == SERVERS[1] { || wall() + SKEW } else { wall }
}

/// Puts the wall clock of a run forward.
pub(super) fn skip(by: Duration) {
    AHEAD.set(AHEAD.get() + by.as_millis() as u64);
}

impl Cluster {
    /// A cluster whose network and store strike as `control` says.
    pub(super) fn new(
        network: Network,
        control: Arc<Control>,
        struck: mpsc::UnboundedReceiver<Struck>,
    ) -> Arc<Cluster> {
        AHEAD.set(0);
        BEGAN.set(Some(Instant::now()));
        let judge = Arc::clone(&control);
        network.script(move |frame| judge.judge(frame));
        let cluster = Arc::new(Cluster {
            network,
            store: SimulatedBackend::new(),
            control,
            gates: Arc::default(),
            running: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&cluster).suffer(struck));
        cluster
    }

    /// Puts an account into the store, as if it had always been there.
    pub(super) async fn found(&self, account: &str, balance: u64) {
        let book = Book { balance, references: Vec::new() };
        let body = serde_json::to_vec(&book).expect("a book is JSON");
        let done = self.store.insert(&key_of(account), body.into(), bytes::Bytes::new()).await;
        done.expect("an empty store takes it");
    }

    /// Starts both servers.
    pub(super) fn start(&self) {
        for server in SERVERS {
            self.start_one(server);
        }
    }

    /// A store handle of a life, for what is done without a server.
    pub(super) fn handle(&self, life: &Life) -> CasStore<Steps> {
        let steps = Steps {
            store: self.store.clone(),
            control: Arc::clone(&self.control),
            life: life.clone(),
        };
        CasStore::with_seed(steps, life.number, wall_of(&life.server))
    }

    /// Connects a client to both servers.
    pub(super) async fn client(&self, ack_delay: Duration) -> Result<LedgerClient, String> {
        let config = ClientConfig::default()
            .seed(Some(7))
            .initial_timeout(Duration::from_millis(500))
            .ack_delay(ack_delay)
            .max_in_flight(MAX_IN_FLIGHT)
            .deadline(DEADLINE);
        rpc::Client::builder()
            .config(config)
            .connector(self.network.connector("client"))
            .connect(SERVERS)
            .await
            .map_err(|error| format!("the client is not let in: {error}"))
    }

    /// Waits until the client is connected to both servers.
    pub(super) async fn until_connected(&self, client: &LedgerClient) -> Result<(), String> {
        let connected = self.control.until_connected(&SERVERS);
        match tokio::time::timeout(TAKEN_BACK, connected).await {
            Ok(()) => Ok(()),
            Err(_) => Err(format!("a server does not get its client back: {:?}", stats(client))),
        }
    }

    /// Lets everybody go on, with all that was held up.
    pub(super) async fn thaw(&self) {
        for server in SERVERS {
            self.network.thaw(server);
        }
        self.control.thaw();
        self.network.release().await;
    }

    fn start_one(&self, server: &str) {
        let life = self.control.begin_life(server);
        let store: Arc<dyn Store> = Arc::new(self.handle(&life));
        let ledger = LedgerServer::new(LedgerOn::new(server, &self.gates));
        let serving = rpc::Server::builder(ledger, store)
            .wall_clock(wall_of(server))
            .listen_on(self.network.listen(server))
            .serve();
        let task = tokio::spawn(serving);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(Arc::clone(&life.server), task);
    }

    /// Does to servers what was struck.
    async fn suffer(self: Arc<Self>, mut struck: mpsc::UnboundedReceiver<Struck>) {
        while let Some(struck) = struck.recv().await {
            let cluster = Arc::clone(&self);
            match struck {
                Struck::Crash(server) => {
                    self.network.note(format!("{server} crashes"));
                    let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                    let task = running.remove(&server);
                    drop(running);
                    // Whoever is no server of ours comes back by itself.
                    let Some(task) = task else { continue };
                    task.abort();
                    tokio::spawn(async move {
                        tokio::time::sleep(DOWN).await;
                        cluster.network.note(format!("{server} starts again"));
                        cluster.start_one(&server);
                    });
                }
                Struck::Stall(server) => {
                    self.network.freeze(&server);
                    tokio::spawn(async move {
                        tokio::time::sleep(STILL).await;
                        cluster.thaw().await;
                    });
                }
            }
        }
    }
}

/// The document of an account.
pub(super) fn key_of(account: &str) -> DocKey {
    DocKey::new("book", &account).expect("accounts of the cases have short names")
}
