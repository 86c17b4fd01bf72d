//! Many clients that want the same documents: the calls they make, three ways to make them, and
//! what came of it. The tests of contention and its benchmark share this.
//!
//! Runs on virtual time, so it measures the protocols and not the machine. The timers count whole
//! milliseconds: each half of a store operation, to the store and back, takes at least one.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Load`], a run of many clients, from a seed |
//! | `case.rs` | [`Case`]: who wants which documents |
//! | `account.rs` | the documents and what a call does to them |
//! | `protected.rs` | calls through `CasStore`: exactly once |
//! | `rivals.rs` | the same work unprotected, and under locks |
//! | `figures.rs` | [`Figures`]: what a run came to |

mod account;
mod case;
mod figures;
mod protected;
mod rivals;

use std::sync::Arc;
use std::time::Duration;

use rpc::store::DocKey;
use rpc::store::cas::{CasBackend, CasStore};
use rpc::time::WallTime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::account::Account;
pub use self::case::Case;
pub use self::figures::{Done, Figures};
use self::protected::Protected;
use self::rivals::{Locked, Unprotected};
use crate::conformance::key;
use crate::simulated::{Faults, SimulatedBackend};

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Through `CasStore`, each call by one of several servers.
    ExactlyOnce,
    /// Read, change, compare-and-swap, until it works; one document after the other.
    Unprotected,
    /// A lock document for each document, taken in the order of their keys.
    Locked,
}

/// When clients stop making calls.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// After so many calls each.
    Calls(u64),
    /// When so much virtual time has passed; what is running then is finished.
    After(Duration),
}

/// Many clients at work.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Which documents they want.
    pub case: Case,
    /// How they get at them.
    pub protocol: Protocol,
    /// How many there are.
    pub clients: u64,
    /// How many servers run their calls.
    pub servers: u64,
    /// How much they do.
    pub stop: Stop,
    /// What goes wrong in the store, and how long it takes.
    pub faults: Faults,
    /// Of a thousand attempts, how many are dropped in the middle, as by a server that dies.
    pub cut_off: u32,
    /// The virtual time in which all of it must have ended.
    pub limit: Duration,
    /// Makes the run repeatable.
    pub seed: u64,
    /// Whether each account lists its calls, so that each can be looked for.
    pub list_calls: bool,
}

/// What a run came to, and what lies in the store after it.
#[derive(Debug)]
pub struct Ended {
    /// The figures.
    pub figures: Figures,
    /// By account: the calls that its document lists, in the order in which they took effect.
    pub lists: Vec<Vec<(u64, u64)>>,
    /// By account: how many calls changed it.
    pub changes: Vec<u64>,
}

/// One way to make a call: client, its number there, and the accounts, the anchor first.
trait Caller: Send + 'static {
    /// What the accounts list it as.
    fn name(&self) -> u64;

    fn call(&mut self, seq: u64, accounts: &[u64]) -> impl Future<Output = ()> + Send;
}

impl Load {
    /// Runs it on a runtime of its own, with a paused clock and one thread.
    ///
    /// # Panics
    /// If it does not end within its limit.
    #[must_use]
    pub fn run(self) -> Ended {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime")
            .block_on(self.go())
    }

    async fn go(self) -> Ended {
        let backend = SimulatedBackend::new();
        for number in 0..self.case.accounts(self.clients) {
            let body = Account::opened().encode();
            backend.insert(&account_key(number), body, Default::default()).await.expect("healthy");
        }
        let servers: Vec<_> = (0..self.servers)
            .map(|n| CasStore::with_seed(backend.clone(), self.seed << 8 | n, || WallTime(0)))
            .map(Arc::new)
            .collect();
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut callers = Vec::new();
        for client in 0..self.clients {
            let first = (client % self.servers) as usize;
            let options = (self.list_calls, self.cut_off);
            callers.push(Protected::open(servers.clone(), first, options, rng.fork()).await);
        }
        backend.take_operations();
        backend.set_faults(self.seed, self.faults);
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for (client, caller) in (0..).zip(callers) {
            let (backend, rng) = (backend.clone(), rng.fork());
            match self.protocol {
                Protocol::ExactlyOnce => clients.spawn(self.client(client, start, caller, rng)),
                Protocol::Unprotected => {
                    clients.spawn(self.client(client, start, Unprotected { backend }, rng))
                }
                Protocol::Locked => {
                    let caller = Locked { backend, rng: rng.clone() };
                    clients.spawn(self.client(client, start, caller, rng))
                }
            };
        }
        let all = tokio::time::timeout(self.limit, clients.join_all()).await;
        let all = all.unwrap_or_else(|_| panic!("calls that do not end: {self:?}"));
        let done: Vec<Done> = all.into_iter().flatten().collect();
        let elapsed = start.elapsed();
        let operations = backend.take_operations();
        backend.set_faults(self.seed, Faults::default());
        let (lists, changes) = self.read_back(&servers[0]).await;
        let figures = Figures { done, elapsed, operations, clients: self.clients };
        Ended { figures, lists, changes }
    }

    async fn client(
        self,
        client: u64,
        start: Instant,
        mut caller: impl Caller,
        mut rng: fastrand::Rng,
    ) -> Vec<Done> {
        let mut done = Vec::new();
        for seq in 1.. {
            let over = match self.stop {
                Stop::Calls(calls) => seq > calls,
                Stop::After(time) => start.elapsed() >= time,
            };
            if over {
                break;
            }
            let accounts = self.case.of_call(client, self.clients, &mut rng);
            let began = Instant::now();
            caller.call(seq, &accounts).await;
            let name = (caller.name(), seq);
            done.push(Done { client, name, accounts, latency: began.elapsed() });
        }
        done
    }

    async fn read_back(
        self,
        store: &CasStore<SimulatedBackend>,
    ) -> (Vec<Vec<(u64, u64)>>, Vec<u64>) {
        use rpc::store::Store as _;
        let (mut lists, mut changes) = (Vec::new(), Vec::new());
        for number in 0..self.case.accounts(self.clients) {
            let seen = store.read(&account_key(number)).await.expect("no faults any more");
            let account = Account::decode(&seen.body.expect("accounts are never deleted"));
            lists.push(account.calls);
            changes.push(account.changes);
        }
        (lists, changes)
    }
}

fn account_key(number: u64) -> DocKey {
    key(&format!("account-{number}"))
}
