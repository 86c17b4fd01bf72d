//! What all parts of a world share: its time, its dice, what is to happen when, and what has.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use fastrand::Rng;
use foldhash::quality::{FixedState, FoldHasher};
use tokio::time::Instant;

use super::calls::Calls;
use super::fault::{Coverage, Fault, Step};
use super::journal::Rows;
use super::network::{LinkId, Network};
use super::plan::{Plan, Trigger};
use super::store::{Documents, OpId};
use super::trace::{End, Line, Trace};
use super::{Figures, Settings, Violation};

/// One world. Clones of the pointer are held by its clients, servers and connections.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) plan: Plan,
    origin: Instant,
    state: Mutex<State>,
}

/// The world behind its lock.
#[derive(Debug)]
pub(super) struct State {
    /// Milliseconds since the world began.
    pub(super) now: u64,
    pub(super) rng: Rng,
    /// Whether faults strike now.
    pub(super) faulty: bool,
    pub(super) servers: Vec<Process>,
    pub(super) clients: Vec<Process>,
    pub(super) network: Network,
    pub(super) documents: Documents,
    pub(super) calls: Calls,
    pub(super) journals: Vec<Rows>,
    pub(super) coverage: Coverage,
    pub(super) figures: Figures,
    pub(super) trace: Trace,
    pub(super) wakers: Vec<Waker>,
    rates: Vec<Striking>,
    triggers: Vec<Trigger>,
    taken: [u32; Step::ALL.len()],
    queue: BinaryHeap<Reverse<(u64, u16, u64, Event)>>,
    queued: u64,
    actions: VecDeque<Action>,
    hash: Digest,
    driver: Option<Waker>,
    driver_at: u64,
    steps: u64,
    max_steps: u64,
    violation: Option<Violation>,
}

/// All that has happened, as a hash.
struct Digest(FoldHasher<'static>);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0.finish())
    }
}

/// A client or a server as a process that may be dead or stand still.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) alive: bool,
    /// Which of its lives this is.
    pub(super) life: u32,
    pub(super) frozen_until: u64,
}

/// A rate with the rest of its burst.
#[derive(Debug)]
struct Striking {
    rate: super::plan::Rate,
    left: u8,
}

/// Something that happens at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// What is due in a direction of a connection arrives.
    Deliver(LinkId, End),
    /// Both ends of a connection learn that it is broken.
    Sever(LinkId),
    /// The store does an operation.
    Apply(OpId),
    /// The store's answer arrives.
    Answer(OpId),
    Act(Action),
}

/// Something that is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    KillServer(u8),
    StartServer(u8),
    KillClient(u8),
    StartClient(u8),
}

/// The wall clock at the start of a world, in milliseconds of the Unix epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

thread_local! {
    /// Virtual time passes only while the runtime of this thread has nothing to do.
    static TIME_HAS_PASSED: Cell<bool> = const { Cell::new(true) };
}

/// The runtime of this thread had nothing to do.
pub(super) fn time_has_passed() {
    TIME_HAS_PASSED.set(true);
}

impl Hub {
    pub(super) fn new(plan: &Plan, settings: &Settings) -> Arc<Hub> {
        let rates = plan.rates.iter().map(|rate| Striking { rate: *rate, left: 0 });
        let state = State {
            now: 0,
            rng: Rng::with_seed(plan.seed),
            faulty: true,
            servers: vec![Process::default(); usize::from(plan.servers)],
            clients: vec![Process::default(); plan.clients.len()],
            network: Network::new(plan),
            documents: Documents::new(plan),
            calls: Calls::new(plan),
            journals: vec![Rows::new(); plan.clients.len()],
            coverage: Coverage::default(),
            figures: Figures::default(),
            trace: Trace::new(settings.record),
            wakers: Vec::new(),
            rates: rates.collect(),
            triggers: plan.triggers.clone(),
            taken: [0; Step::ALL.len()],
            queue: BinaryHeap::new(),
            queued: 0,
            actions: VecDeque::new(),
            hash: Digest(FixedState::default().build_hasher()),
            driver: None,
            driver_at: 0,
            steps: 0,
            max_steps: settings.max_steps,
            violation: None,
        };
        time_has_passed();
        Arc::new(Hub { plan: plan.clone(), origin: Instant::now(), state: Mutex::new(state) })
    }

    /// Uses the state, then wakes whom that concerns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let (done, wakers) = {
            let mut state = self.lock();
            if TIME_HAS_PASSED.take() {
                state.now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
            }
            let done = act(&mut state);
            (done, std::mem::take(&mut state.wakers))
        };
        // After the lock is released: a waker may do anything.
        wakers.into_iter().for_each(Waker::wake);
        done
    }

    /// The moment of the runtime's clock at a time of the world.
    pub(super) fn instant(&self, at: u64) -> Instant {
        self.origin + Duration::from_millis(at)
    }

    /// What the wall clock of a server says; of nobody's server, the true time.
    pub(super) fn wall(&self, server: u8) -> rpc::time::WallTime {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        rpc::time::WallTime(self.plan.wall(now, server))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// What the wall clock of a server says at a time of the world.
    pub(super) fn wall(&self, now: u64, server: u8) -> u64 {
        let skew = self.skew_ms.get(usize::from(server)).copied().unwrap_or(0);
        (EPOCH_MS + now).saturating_add_signed(i64::from(skew))
    }
}

impl State {
    /// Lets something happen at its time. What is due in the same millisecond comes in an order
    /// that the dice decide.
    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        self.queued += 1;
        let tie = self.rng.u16(..);
        self.queue.push(Reverse((at, tie, self.queued, event)));
        if at < self.driver_at {
            self.wakers.extend(self.driver.take());
        }
    }

    /// The next thing that is due; else registers to be woken for it.
    pub(super) fn next_event(&mut self, waker: &Waker) -> Result<Event, u64> {
        let at = self.queue.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
        if at <= self.now {
            let Some(Reverse((.., event))) = self.queue.pop() else { unreachable!("peeked at") };
            return Ok(event);
        }
        if !self.driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.driver = Some(waker.clone());
        }
        self.driver_at = at;
        Err(at)
    }

    /// Lets the driver look at the world.
    pub(super) fn wake_driver(&mut self) {
        self.wakers.extend(self.driver.take());
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
        self.wake_driver();
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A step is taken for a client on a server: counts it, and says which fault strikes.
    pub(super) fn take(&mut self, plan: &Plan, step: Step, server: u8) -> Option<Fault> {
        self.coverage.took(step);
        self.count_step();
        if !step.is_frame() && plan.skew_ms.get(usize::from(server)).is_some_and(|ms| *ms != 0) {
            let all = || plan.skew_ms.iter();
            let spread = all().max().zip(all().min()).map_or(0, |(most, least)| most - least);
            let margin = rpc::store::Lease::MARGIN.as_millis() as i32;
            let is_within = spread <= margin;
            let fault = if is_within { Fault::SkewWithin } else { Fault::SkewBeyond };
            self.coverage.struck(fault, step);
        }
        if !self.faulty {
            return None;
        }
        self.taken[step as usize] += 1;
        let taken = self.taken[step as usize];
        let is_meant = |trigger: &Trigger| trigger.step == step && u32::from(trigger.nth) == taken;
        if let Some(position) = self.triggers.iter().position(is_meant) {
            return Some(self.triggers.swap_remove(position).fault);
        }
        let rng = &mut self.rng;
        let mut strikes = |striking: &mut Striking| {
            if !striking.rate.fault.applies(step) {
                return false;
            }
            if striking.left > 0 {
                striking.left -= 1;
                return true;
            }
            let strikes = rng.u16(0..1000) < striking.rate.per_mille;
            if strikes {
                striking.left = rng.u8(0..=striking.rate.burst);
            }
            strikes
        };
        self.rates.iter_mut().find_map(|striking| strikes(striking).then_some(striking.rate.fault))
    }

    /// Something was done: a world does not go on for ever.
    pub(super) fn count_step(&mut self) {
        self.steps += 1;
        if self.steps == self.max_steps {
            let steps = self.max_steps;
            self.fail("did not finish", || format!("it has taken {steps} steps"));
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Something must not be. The first of it counts.
    pub(super) fn fail(&mut self, rule: &'static str, detail: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let detail = detail();
            self.note(|| format!("VIOLATION {rule}: {detail}"));
            self.violation = Some(Violation { rule, detail });
            self.wake_driver();
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.violation.is_some()
    }

    pub(super) fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// Mixes something that happened into the hash of the world.
    pub(super) fn digest(&mut self, kind: u8, words: [u64; 3], bytes: &[u8]) {
        let Digest(hash) = &mut self.hash;
        hash.write_u8(kind);
        hash.write_u64(self.now);
        words.iter().for_each(|word| hash.write_u64(*word));
        hash.write(bytes);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.0.finish()
    }

    /// Writes a remark into the trace.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        self.trace.push(now, || Line::Note(text()));
    }

    /// A process fault strikes at this very point. Returns whether there was anything to strike.
    pub(super) fn strike(
        &mut self,
        fault: Fault,
        server: u8,
        client: u8,
        call: Option<u8>,
    ) -> bool {
        match fault {
            Fault::ServerStall => self.freeze(server),
            Fault::ServerCrash => self.kill_server(server),
            Fault::ClientCrash => self.kill_client(client),
            Fault::CallerDrop => self.drop_call(client, call),
            _ => false,
        }
    }

    fn freeze(&mut self, server: u8) -> bool {
        let most = [40, 400, 4_000][self.rng.usize(0..3)];
        let until = self.now + 1 + self.rng.u64(0..most);
        let Some(process) = self.servers.get_mut(usize::from(server)) else { return false };
        if !process.alive {
            return false;
        }
        process.frozen_until = process.frozen_until.max(until);
        self.digest(b'z', [server.into(), until, 0], &[]);
        self.figures.stalls += 1;
        self.note(|| format!("s{server} stands still until {until} ms"));
        true
    }

    /// Whether a client still lives this life.
    pub(super) fn is_living(&self, client: u8, life: u32) -> bool {
        let process = &self.clients[usize::from(client)];
        process.alive && process.life == life
    }

    /// Until when a server stands still, if it does.
    pub(super) fn frozen_until(&self, server: u8) -> u64 {
        self.servers.get(usize::from(server)).map_or(0, |process| process.frozen_until)
    }

    fn kill_server(&mut self, server: u8) -> bool {
        let index = usize::from(server);
        if !self.servers.get(index).is_some_and(|process| process.alive) {
            return false;
        }
        self.servers[index].alive = false;
        self.servers[index].frozen_until = 0;
        self.figures.server_crashes += 1;
        self.digest(b'k', [server.into(), 0, 0], &[]);
        self.note(|| format!("s{server} crashes"));
        let life = self.servers[index].life;
        self.lose_links(|link| link.server == server, End::Server);
        self.lose_operations(server, life);
        self.act(Action::KillServer(server));
        let back = self.now + 1 + if self.rng.bool() { 20 } else { self.rng.u64(0..2_000) };
        self.schedule(back, Event::Act(Action::StartServer(server)));
        true
    }

    fn kill_client(&mut self, client: u8) -> bool {
        let index = usize::from(client);
        if !self.clients.get(index).is_some_and(|process| process.alive) {
            return false;
        }
        self.clients[index].alive = false;
        self.figures.client_crashes += 1;
        self.digest(b'c', [client.into(), 0, 0], &[]);
        self.note(|| format!("c{client} crashes"));
        self.lose_links(|link| link.client == client, End::Client);
        self.calls.crash(client);
        self.act(Action::KillClient(client));
        let back = self.now + 1 + self.rng.u64(0..500);
        self.schedule(back, Event::Act(Action::StartClient(client)));
        true
    }

    fn drop_call(&mut self, client: u8, call: Option<u8>) -> bool {
        let Some((call, waker)) = self.calls.order_drop(client, call) else { return false };
        self.wakers.extend(waker);
        self.digest(b'd', [client.into(), call.into(), 0], &[]);
        true
    }
}
