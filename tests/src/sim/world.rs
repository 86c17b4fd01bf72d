//! One world from its beginning to its end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bank_business::BankServer;
use rpc::id::{ArgumentHash, Attempt, CallId, Identity, Seq, SessionSecret};
use rpc::store::cas::CasStore;
use rpc::store::{self, CallRef, Commit, CommitOutcome, Encoded, Lease, MemoryStore, Store, Write};
use rpc::time::WallTime;
use rpc::{ServerConfig, ServerHandle};
use tokio::task::JoinHandle;

use super::bank::{BankOn, first_entries, preloaded};
use super::clients;
use super::hub::{Action, Event, Hub, State};
use super::plan::{ComesBack, Plan, StoreKind};
use super::socket::Doorman;
use super::store::{Backend, NOBODY};
use super::watchdog::Watch;
use super::{Outcome, Settings, books, sessions};
use crate::history::{self, Book, History};

/// A world while it runs.
struct World {
    hub: Arc<Hub>,
    servers: Vec<Host>,
    clients: Vec<Guest>,
    memory: Option<Arc<MemoryStore>>,
    stores: u64,
    watch: Arc<Watch>,
    /// Where the world was when its watch last rang.
    at_last_ring: Option<(u64, u64)>,
}

/// A server.
#[derive(Default)]
struct Host {
    run: Option<(ServerHandle<BankServer<BankOn>>, JoinHandle<()>)>,
    /// Its end of the store, kept over a restart with memory.
    store: Option<(Arc<dyn Store>, Arc<AtomicU32>)>,
}

/// A client.
#[derive(Default)]
struct Guest {
    run: Option<JoinHandle<()>>,
    /// It has crashed and is to come back.
    is_away: bool,
}

/// How long faults strike after the last call was made, in milliseconds.
const FAULTS_AFTER_LAST_CALL: u64 = 1_500;
/// How long calls may take once no fault strikes any more, in milliseconds: their deadlines, what
/// they take to be settled, and the ends of sessions.
const CALM_MS: u64 = 60_000;
/// How long servers may take to end what runs for clients that are gone, in milliseconds.
const QUIET_MS: u64 = 30_000;

/// Runs a world to its end.
pub(super) async fn run(plan: &Plan, settings: &Settings) -> Outcome {
    let hub = Hub::new(plan, settings);
    let mut world = World::new(&hub);
    if let Some(memory) = &world.memory {
        preload(memory, plan).await;
    }
    for server in 0..plan.servers {
        world.start_server(server);
    }
    for client in 0..plan.clients.len() {
        world.start_client(client as u8);
    }
    let last_call =
        plan.clients.iter().flat_map(|client| client.calls.iter().map(|c| c.at_ms)).max();
    let faults_end = u64::from(last_call.unwrap_or(0)) + FAULTS_AFTER_LAST_CALL;
    world.drive(faults_end, World::all_gone).await;
    hub.with(State::calm_down);
    let calm_from = hub.with(|state| state.now);
    world.drive(calm_from + CALM_MS, World::all_gone).await;
    if !world.all_gone() {
        hub.with(|state| state.fail("did not finish", || state_of_clients(&world)));
    }
    let quiet_from = hub.with(|state| state.now);
    world.drive(quiet_from + QUIET_MS, World::is_quiet).await;
    if !world.is_quiet() {
        hub.with(|state| {
            state.fail("nothing runs for clients that are gone", || "servers still run".to_owned());
        });
    }
    world.end().await
}

fn state_of_clients(world: &World) -> String {
    let open = |(number, guest): (usize, &Guest)| (!guest.is_gone()).then(|| format!("c{number}"));
    let open: Vec<String> = world.clients.iter().enumerate().filter_map(open).collect();
    format!("{} have calls {CALM_MS} ms after the last fault", open.join(", "))
}

impl World {
    fn new(hub: &Arc<Hub>) -> World {
        let memory = match hub.plan.store {
            StoreKind::Cas => None,
            StoreKind::Memory => Some(Arc::new(MemoryStore::new())),
        };
        World {
            hub: Arc::clone(hub),
            servers: (0..hub.plan.servers).map(|_| Host::default()).collect(),
            clients: hub.plan.clients.iter().map(|_| Guest::default()).collect(),
            memory,
            stores: 0,
            watch: Watch::begin(),
            at_last_ring: None,
        }
    }

    fn start_server(&mut self, server: u8) {
        let hub = Arc::clone(&self.hub);
        let index = usize::from(server);
        let host = &self.servers[index];
        let life = hub.with(|state| {
            let process = &mut state.servers[index];
            process.life += u32::from(host.store.is_some() || host.run.is_some());
            process.alive = true;
            let life = process.life;
            state.note(|| format!("s{server} begins life {life}"));
            life
        });
        let store = self.store_of(server, life);
        let lease = Duration::from_millis(hub.plan.lease_ms.into());
        let clock = Arc::clone(&hub);
        let bank = BankServer::new(BankOn { hub: Arc::clone(&hub), server });
        let doorman = Doorman { hub, server, life };
        let made = rpc::Server::builder(bank, store)
            .config(ServerConfig::default().lease(lease))
            .wall_clock(move || clock.wall(server))
            .listen_on(doorman);
        let handle = made.handle();
        self.servers[index].run = Some((handle, tokio::spawn(made.serve())));
    }

    fn store_of(&mut self, server: u8, life: u32) -> Arc<dyn Store> {
        if let Some(memory) = &self.memory {
            let store: Arc<dyn Store> = Arc::clone(memory) as Arc<dyn Store>;
            self.servers[usize::from(server)].store = Some((Arc::clone(&store), Arc::default()));
            return store;
        }
        let host = &mut self.servers[usize::from(server)];
        if let Some((store, known)) = &host.store {
            known.store(life, Ordering::Relaxed);
            return Arc::clone(store);
        }
        self.stores += 1;
        let clock = Arc::clone(&self.hub);
        let known = Arc::new(AtomicU32::new(life));
        let backend = Backend { hub: Arc::clone(&self.hub), server, life: Arc::clone(&known) };
        let seed = self.hub.plan.seed << 16 | self.stores;
        let store: Arc<dyn Store> =
            Arc::new(CasStore::with_seed(backend, seed, move || clock.wall(server)));
        host.store = Some((Arc::clone(&store), known));
        store
    }

    fn start_client(&mut self, client: u8) {
        let hub = Arc::clone(&self.hub);
        let life = hub.with(|state| {
            let process = &mut state.clients[usize::from(client)];
            process.alive = true;
            process.life
        });
        let task = tokio::spawn(async move {
            clients::live(Arc::clone(&hub), client, life).await;
            hub.with(State::wake_driver);
        });
        self.clients[usize::from(client)].run = Some(task);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::KillServer(server) => self.kill_server(server),
            Action::StartServer(server) => self.start_server(server),
            Action::KillClient(client) => {
                let guest = &mut self.clients[usize::from(client)];
                guest.run.take().inspect(JoinHandle::abort);
                guest.is_away = true;
            }
            Action::StartClient(client) => {
                self.clients[usize::from(client)].is_away = false;
                if self.hub.plan.clients[usize::from(client)].comes_back != ComesBack::Never {
                    self.hub.with(|state| {
                        state.clients[usize::from(client)].life += 1;
                        state.calls.begin_life(client);
                        state.note(|| format!("c{client} comes back"));
                    });
                    self.start_client(client);
                }
            }
        }
    }

    fn kill_server(&mut self, server: u8) {
        let keeps_memory = self.hub.with(|state| state.rng.bool());
        let host = &mut self.servers[usize::from(server)];
        if let Some((handle, task)) = &host.run {
            task.abort();
            count(&self.hub, handle);
        }
        if !keeps_memory && self.memory.is_none() {
            // The life goes on counting: it tells the new one's operations from the old one's.
            host.store = None;
        }
    }

    /// Lets things happen until `is_enough`, but no longer than to `end`.
    async fn drive(&mut self, end: u64, is_enough: fn(&World) -> bool) {
        let hub = Arc::clone(&self.hub);
        let mut timer = pin!(tokio::time::sleep_until(hub.instant(end)));
        std::future::poll_fn(|context| {
            if self.watch.rings(context.waker()) {
                self.look_whether_stuck();
            }
            loop {
                let (next, action, over) = hub.with(|state| {
                    let next = state.run_events(context.waker());
                    (next, state.next_action(), state.has_failed() || state.now >= end)
                });
                if let Some(action) = action {
                    self.act(action);
                    continue;
                }
                if over || is_enough(self) {
                    return Poll::Ready(());
                }
                let at = hub.instant(next.min(end));
                if timer.deadline() != at {
                    timer.as_mut().reset(at);
                }
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// A world in which nothing has happened since the watch last rang spins.
    fn look_whether_stuck(&mut self) {
        let here = self.hub.with(|state| (state.now, state.steps()));
        if self.at_last_ring == Some(here) {
            let now = here.0;
            let detail = || format!("at {now} ms something spins, and time stands still");
            self.hub.with(|state| state.fail("did not finish", detail));
        }
        self.at_last_ring = Some(here);
    }

    fn all_gone(&self) -> bool {
        self.clients.iter().all(Guest::is_gone)
    }

    /// Whether no server runs anything any more, and all of them are up.
    fn is_quiet(&self) -> bool {
        let idle =
            |host: &Host| host.run.as_ref().is_none_or(|(handle, _)| handle.held().running == 0);
        self.servers.iter().all(idle)
            && self.hub.with(|state| state.servers.iter().all(|server| server.alive))
    }

    async fn end(mut self) -> Outcome {
        let hub = Arc::clone(&self.hub);
        let calm = hub.with(|state| state.now) + 100;
        // Stages become bodies, and last words are said.
        self.drive(calm, |_| false).await;
        self.check_held();
        for host in &mut self.servers {
            if let Some((handle, task)) = host.run.take() {
                count(&hub, &handle);
                task.abort();
            }
        }
        let books = self.read_books().await;
        hub.with(|state| {
            if !state.has_failed() {
                let log = &state.documents.log;
                let sessions = sessions::check(&hub.plan, log, &mut state.figures);
                let history = || History {
                    first: hub.plan.accounts.iter().map(|count| first_entries(*count)).collect(),
                    calls: state.calls.history(),
                    books,
                    is_once: hub.plan.keeps_margin(),
                };
                if let Err((rule, detail)) = sessions.and_then(|()| history::check(&history())) {
                    state.fail(rule, || detail);
                }
            }
            state.outcome(&hub.plan)
        })
    }

    /// Memory is bounded: a table for each connection at most, and no more responses than calls.
    fn check_held(&self) {
        const RESPONSE: usize = 8 << 10;
        for (number, host) in self.servers.iter().enumerate() {
            let Some((handle, _)) = &host.run else { continue };
            let held = handle.held();
            self.hub.with(|state| {
                let links = state.network.links.iter();
                let tables = links.filter(|link| usize::from(link.server) == number).count();
                let calls = state.calls.all.len();
                if held.sessions > tables || held.response_bytes > calls * RESPONSE {
                    state.fail("memory is bounded", || format!("s{number} holds {held:?}"));
                }
            });
        }
    }

    async fn read_books(&self) -> Vec<Option<Book>> {
        let hub = Arc::clone(&self.hub);
        match &self.memory {
            Some(memory) => books::read_all(&**memory, &hub).await,
            None => {
                let backend =
                    Backend { hub: Arc::clone(&hub), server: NOBODY, life: Arc::default() };
                let clock = Arc::clone(&hub);
                let seed = hub.plan.seed << 16 | 0xffff;
                let store = CasStore::with_seed(backend, seed, move || clock.wall(NOBODY));
                books::read_all(&store, &hub).await
            }
        }
    }
}

impl Guest {
    fn is_gone(&self) -> bool {
        !self.is_away && self.run.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl State {
    /// Does all that is due. Returns when something is due next.
    fn run_events(&mut self, waker: &std::task::Waker) -> u64 {
        loop {
            match self.next_event(waker) {
                Ok(Event::Deliver(link, to)) => self.deliver(link, to),
                Ok(Event::Sever(link)) => self.sever(link),
                Ok(Event::Apply(operation)) => self.apply(operation),
                Ok(Event::Answer(operation)) => self.answer(operation),
                Ok(Event::Act(action)) => self.act(action),
                Err(next) => return next,
            }
            self.count_step();
        }
    }

    /// From now on nothing goes wrong any more.
    fn calm_down(&mut self) {
        self.faulty = false;
        self.figures.calm_since = self.now;
        self.heal();
        self.note(|| "from now on nothing goes wrong any more".to_owned());
    }

    fn outcome(&mut self, plan: &Plan) -> Outcome {
        self.figures.count_calls(&self.calls.all);
        self.figures.virtual_ms = self.now;
        Outcome {
            violation: self.take_violation(),
            hash: self.hash(),
            coverage: std::mem::take(&mut self.coverage),
            figures: self.figures,
            diagram: self.trace.diagram(plan.clients.len(), plan.servers.into()),
        }
    }
}

/// Takes over what a server has counted.
fn count(hub: &Hub, handle: &ServerHandle<BankServer<BankOn>>) {
    let stats = handle.stats();
    hub.with(|state| {
        state.figures.replayed += stats.replayed_from_record + stats.replayed_from_table;
        state.figures.recorded += stats.committed;
    });
}

/// What there is at the start is written into a memory store by a client of its own.
async fn preload(store: &MemoryStore, plan: &Plan) {
    let lease = Lease { until: WallTime(u64::MAX) };
    let (identity, secret) = (Identity::anonymous(), SessionSecret([0; 16]));
    let session = store.open_session(&identity, secret, lease).await;
    let session = session.expect("an empty store has room for a session");
    let call = CallRef {
        id: CallId { client: session.client, seq: Seq::FIRST },
        incarnation: session.incarnation,
        attempt: Attempt::FIRST,
        born: WallTime(0),
        hash: ArgumentHash(0),
        anchor: None,
        watermark: Seq::FIRST,
    };
    let documents = preloaded(plan).into_iter();
    let writes = documents.map(|(key, body)| Write { key, body: Some(body.into()) }).collect();
    let result = store::Outcome::Success(Encoded::empty());
    let done = store.commit(Commit { call, reads: Vec::new(), writes, result }).await;
    assert!(matches!(done, Ok(CommitOutcome::Committed(_))), "an empty store takes it: {done:?}");
}
