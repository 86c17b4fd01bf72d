//! Both ends as a pair, driven by hand through everything that a network, servers that restart and
//! runs that go on as zombies can do, in random order.
//!
//! Calls deposit and withdraw; a withdrawal from nothing is a business error. Each counts its effects
//! in a document of its own, so that what callers are told can be compared with what happened.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | what can happen, the client, and what must be true |
//! | `journalled.rs` | a client that dies and comes back with its journal |
//! | `giving_up.rs` | what happens between giving up, being told, and asking again |
//! | `servers.rs` | the servers and their runs |

mod giving_up;
mod journalled;
mod servers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

use self::journalled::Remembered;
use self::servers::{Job, Server};
use super::call::{Call, CallState};
use super::{
    CallOptions, CallOutcome, ClientConfig, Core, EndpointId, Event, Hedge, Settled, StartError,
};
use crate::id::{MethodId, Seq};
use crate::schema::Schema;
use crate::service::{Kind, MethodSchema, ServiceSchema};
use crate::store::{DocKey, MemoryStore, Store, StoreFuture, Versioned};
use crate::time::Time;
use crate::wire::frame::FrameDecoder;
use crate::wire::request::{ClientFrame, RequestHeader};

const SERVERS: usize = 3;
const WINDOW: u32 = 8;
const DEADLINE: Duration = Duration::from_secs(5);
const DEPOSIT: MethodId = MethodId(0);
const WITHDRAW: MethodId = MethodId(1);

#[derive(Clone, Debug)]
enum Op {
    Make(MethodId),
    Drop(Index),
    /// The next frame arrives at the server, or at the client.
    ToServer(usize),
    ToClient(usize),
    /// A frame on its way is lost.
    Lose(usize, bool, Index),
    /// A frame on its way falls behind all others of its connection.
    Overtake(usize, bool, Index),
    /// A request that was sent on a connection arrives there again.
    Again(usize, Index),
    Connect(usize),
    Cut(usize),
    Restart(usize),
    /// The journal has written its batch, if it has one.
    Written,
    /// The client dies, with its batch written or not, and comes back.
    Die {
        written: bool,
    },
    /// A run comes to its commit.
    End(Index),
    Pass(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let server = 0..SERVERS;
    let op = prop_oneof![
        5 => prop_oneof![Just(DEPOSIT), Just(WITHDRAW)].prop_map(Op::Make),
        1 => any::<Index>().prop_map(Op::Drop),
        12 => server.clone().prop_map(Op::ToServer),
        12 => server.clone().prop_map(Op::ToClient),
        2 => (server.clone(), any::<bool>(), any::<Index>())
            .prop_map(|(server, to_server, at)| Op::Lose(server, to_server, at)),
        2 => (server.clone(), any::<bool>(), any::<Index>())
            .prop_map(|(server, to_server, at)| Op::Overtake(server, to_server, at)),
        1 => (server.clone(), any::<Index>()).prop_map(|(server, at)| Op::Again(server, at)),
        4 => server.clone().prop_map(Op::Connect),
        1 => server.clone().prop_map(Op::Cut),
        1 => server.prop_map(Op::Restart),
        6 => any::<Index>().prop_map(Op::End),
        5 => prop_oneof![1..100u64, 500..3_000u64].prop_map(Op::Pass),
    ];
    vec(op, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(4),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_callers_are_told_is_what_happened(ops in ops()) {
        let mut pair = Pair::new();
        for op in ops {
            pair.apply(op);
        }
        pair.finish();
    }
}

/// Random orders come upon each of these rules: without any one of them, some call is told wrong.
#[cfg(feature = "test-util")]
#[test]
fn it_takes_these_rules() {
    use crate::rule::{Broken, Rule};
    use proptest::test_runner::{TestCaseError, TestRunner};

    for rule in [
        Rule::CheckIdAtCommit,
        Rule::CountAttempts,
        Rule::TentativeFromLatestOnly,
        Rule::SettleDropped,
        Rule::AckUpToGap,
        Rule::MatchBySeq,
        Rule::DropDuplicateResponses,
        Rule::StaleAfterAck,
    ] {
        let config = ProptestConfig {
            cases: 3_000,
            max_shrink_iters: 0,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(9),
            ..ProptestConfig::default()
        };
        let broken = Broken::rule(rule);
        let found = TestRunner::new(config).run(&ops(), |ops| {
            let mut pair = Pair::new();
            for op in ops {
                pair.apply(op);
            }
            pair.finish();
            Ok::<(), TestCaseError>(())
        });
        drop(broken);
        assert!(found.is_err(), "nobody notices that {rule:?} is broken");
    }
}

/// One client, its servers, their store, and what must be true of them.
struct Pair {
    now: Time,
    core: Core,
    store: MemoryStore,
    servers: Vec<Server>,
    jobs: Vec<Job>,
    next_job: u64,
    calls: BTreeMap<Seq, Model>,
    /// The highest watermark that was sent.
    acked: Seq,
    schema: ServiceSchema,
    /// The client's journal, if it has one.
    journal: Option<Remembered>,
}

/// What is known of a call.
#[derive(Debug)]
struct Model {
    method: MethodId,
    waits: bool,
    /// How many effects it has had, from the moment on when that must not change any more.
    effects: Option<u64>,
}

impl Pair {
    fn new() -> Pair {
        Pair::with_journal(None)
    }

    fn with_journal(journal: Option<Remembered>) -> Pair {
        let method = |id: MethodId, name| {
            MethodSchema::new(id.0, name, Kind::Write, &[], u64::describe, <()>::describe)
        };
        let methods = vec![method(DEPOSIT, "deposit"), method(WITHDRAW, "withdraw")];
        let schema = ServiceSchema { name: "Cash", methods };
        let mut pair = Pair {
            now: Time(1),
            core: client(&schema),
            store: MemoryStore::new(),
            servers: (0..SERVERS).map(|_| Server::default()).collect(),
            jobs: Vec::new(),
            next_job: 0,
            calls: BTreeMap::new(),
            acked: Seq::FIRST,
            schema,
            journal,
        };
        pair.remember();
        pair.core.handle_timeout(pair.now);
        pair.settle();
        pair
    }

    /// A deposit runs on the first server.
    fn with_one_call_sent() -> Pair {
        let mut pair = Pair::new();
        pair.connect(0);
        pair.reach_server(0);
        pair.reach_client(0);
        pair.settle();
        pair.make(DEPOSIT);
        pair.settle();
        pair.reach_server(0);
        assert_eq!(pair.jobs.len(), 1, "it runs");
        pair
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Make(method) => self.make(method),
            Op::Drop(at) => {
                let waiting: Vec<Seq> =
                    self.calls.iter().filter(|(_, call)| call.waits).map(|(seq, _)| *seq).collect();
                if let Some(seq) = pick(&waiting, at) {
                    self.calls.get_mut(seq).unwrap().waits = false;
                    self.core.handle_dropped(*seq);
                }
            }
            Op::ToServer(server) => self.reach_server(server),
            Op::ToClient(server) => self.reach_client(server),
            Op::Lose(server, to_server, at) => {
                if let Some(queue) = self.queue(server, to_server) {
                    queue.remove(at.index(queue.len()));
                }
            }
            Op::Overtake(server, to_server, at) => {
                if let Some(queue) = self.queue(server, to_server) {
                    let frame = queue.remove(at.index(queue.len())).unwrap();
                    queue.push_back(frame);
                }
            }
            Op::Again(server, at) => {
                if let Some(link) = &mut self.servers[server].link
                    && let Some(frame) = pick(&link.requests, at)
                {
                    link.to_server.push_back(frame.clone());
                }
            }
            Op::Connect(server) => self.connect(server),
            Op::Cut(server) => self.cut(server),
            Op::Restart(server) => {
                self.servers[server].life += 1;
                self.servers[server].table = None;
                self.cut(server);
            }
            Op::Written => self.write_journal(),
            Op::Die { written } => self.die(written),
            Op::End(at) => {
                if !self.jobs.is_empty() {
                    let job = self.jobs.remove(at.index(self.jobs.len()));
                    self.end(job);
                }
            }
            Op::Pass(millis) => self.pass(Duration::from_millis(millis)),
        }
        self.settle();
    }

    /// No more faults: everything comes to its end, and nothing that was told turns out wrong.
    fn finish(mut self) {
        for _ in 0..20_000 {
            let ended = self.calls.values().all(|call| !call.waits);
            if ended && self.core.is_settled() && self.jobs.is_empty() {
                return self.check();
            }
            for server in 0..SERVERS {
                self.connect(server);
                self.reach_server(server);
                self.reach_client(server);
                self.settle();
            }
            self.write_journal();
            self.settle();
            if !self.jobs.is_empty() {
                let job = self.jobs.remove(0);
                self.end(job);
                self.settle();
            }
            let idle = self.servers.iter().all(|server| {
                let link = server.link.as_ref();
                link.is_none_or(|link| link.to_server.is_empty() && link.to_client.is_empty())
            });
            if idle && self.jobs.is_empty() {
                let next = self.core.poll_timeout().max(self.now + Duration::from_millis(1));
                self.pass(next.since(self.now).min(Duration::from_secs(1)));
                self.settle();
            }
        }
        panic!("not every call ends: {:?}", self.calls);
    }

    fn check(&self) {
        let (mut deposits, mut withdrawals) = (0, 0);
        for (seq, call) in &self.calls {
            let effects = self.effects(*seq);
            assert!(effects <= 1, "call {seq} took effect {effects} times");
            if let Some(told) = call.effects {
                assert_eq!(effects, told, "call {seq} changed after its end");
            }
            *(if call.method == DEPOSIT { &mut deposits } else { &mut withdrawals }) += effects;
        }
        assert_eq!(self.number(&funds()), deposits - withdrawals);
    }

    fn make(&mut self, method: MethodId) {
        // Some before the time-out, some never, some when it is too late.
        let hedge = match self.calls.len() % 4 {
            0 => Hedge::After(Duration::from_millis(200)),
            1 => Hedge::After(DEADLINE + Duration::from_millis(1)),
            _ => Hedge::Never,
        };
        let options = Some(Box::new(CallOptions { hedge, ..CallOptions::USUAL }));
        let options = options.filter(|_| hedge != Hedge::Never);
        let mut arguments = vec![method.0 as u8];
        let (now, kind, waker) = (self.now, Kind::Write, Waker::noop());
        let mut started = None;
        if options.is_none() {
            let left = crate::time::micros(DEADLINE);
            started = self.core.start_untimed(method, kind, left, &mut arguments, waker);
        }
        let deadline = now + DEADLINE;
        let started = started.map_or_else(
            || self.core.start(now, method, kind, options, deadline, arguments, waker),
            Ok,
        );
        match started {
            Ok(seq) => {
                let known = self.calls.insert(seq, Model { method, waits: true, effects: None });
                assert!(known.is_none(), "no number is used twice");
            }
            Err(StartError::WindowFull(_)) => {
                let open = self.core.ring.beyond_watermark();
                assert!(open >= u64::from(WINDOW), "there was room: {open}");
            }
            Err(StartError::Refused(why)) => panic!("refused: {why}"),
        }
    }

    /// Carries out what the client wants, and hears what callers are told.
    fn settle(&mut self) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Connect(id) => self.servers[usize::from(id.0)].wanted = true,
                Event::Close(id) => {
                    let server = &mut self.servers[usize::from(id.0)];
                    (server.wanted, server.link) = (false, None);
                }
                // Some connections are held up, and tell the time only when something else happens.
                Event::Transmit(_) if self.calls.len().is_multiple_of(3) => {}
                Event::Transmit(_) => self.core.handle_time(self.now),
                Event::Journal => {}
            }
        }
        self.poll_journal();
        for server in 0..SERVERS {
            let mut bytes = Vec::new();
            self.core.poll_transmit(EndpointId(server as u16), &mut bytes);
            for frame in cut(&bytes) {
                self.note_sent(&frame);
                if let Some(link) = &mut self.servers[server].link {
                    link.to_server.push_back(frame);
                }
            }
        }
        let waiting: Vec<Seq> =
            self.calls.iter().filter(|(_, call)| call.waits).map(|(seq, _)| *seq).collect();
        for seq in waiting {
            if let Poll::Ready(settled) = self.core.poll_call(seq, Waker::noop()) {
                let Settled { outcome, payload, .. } = settled;
                self.note_told(seq, &outcome, &payload);
            }
        }
        let mut woken = Vec::new();
        self.core.poll_wakers(&mut woken);
        check_counts(&self.core);
        assert!(self.core.ring.len() <= 4 * WINDOW as usize, "the client's table is bounded");
    }

    fn note_told(&mut self, seq: Seq, outcome: &CallOutcome, payload: &[u8]) {
        let effects = self.effects(seq);
        let call = self.calls.get_mut(&seq).unwrap();
        call.waits = false;
        call.effects = match outcome {
            CallOutcome::Success => {
                assert_eq!(payload, seq.0.to_le_bytes(), "its own result");
                Some(1)
            }
            CallOutcome::BusinessError => {
                assert_eq!(payload, [call.method.0 as u8], "its own error");
                Some(0)
            }
            CallOutcome::NotExecuted(_) => Some(0),
            CallOutcome::Unknown(_) => None,
        };
        if let Some(told) = call.effects {
            assert_eq!(effects, told, "call {seq} ended as {outcome:?}");
        }
    }

    /// Whatever is acknowledged has ended, and changes no more.
    fn note_sent(&mut self, frame: &[u8]) {
        let ack = match ClientFrame::decode(frame) {
            Ok(ClientFrame::Ack(ack)) => ack,
            Ok(ClientFrame::Request(RequestHeader { seq, ack, .. }, _)) => {
                let is_known = self.journal.as_ref().is_none_or(|journal| journal.knows(seq));
                assert!(is_known, "call {seq} is sent before it was written down");
                let Some(ack) = ack else { return };
                ack
            }
            _ => return,
        };
        assert!(ack.watermark >= self.acked, "acks never move back");
        self.acked = ack.watermark;
        let above: BTreeSet<Seq> = ack.above().collect();
        let acked: Vec<Seq> = self
            .calls
            .keys()
            .copied()
            .filter(|seq| *seq < ack.watermark || above.contains(seq))
            .collect();
        for seq in acked {
            assert!(
                self.core.ring.get(seq).is_none_or(Call::is_over),
                "call {seq} is acknowledged while it is pending"
            );
            let effects = self.effects(seq);
            let call = self.calls.get_mut(&seq).unwrap();
            assert_eq!(*call.effects.get_or_insert(effects), effects, "call {seq} has ended");
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now + by;
        // One thing may bring about the next, but time must go on: else a driver would spin.
        for _ in 0..4 {
            self.core.handle_timeout(self.now);
        }
        assert!(self.core.poll_timeout() > self.now, "what is due was done");
        for server in 0..SERVERS {
            if let Some((_, table)) = &mut self.servers[server].table {
                table.handle_timeout(self.now);
            }
            self.serve(server);
        }
    }

    /// What is on its way on a connection, if anything is.
    fn queue(&mut self, server: usize, to_server: bool) -> Option<&mut VecDeque<Vec<u8>>> {
        let link = self.servers[server].link.as_mut()?;
        let queue = if to_server { &mut link.to_server } else { &mut link.to_client };
        Some(queue).filter(|queue| !queue.is_empty())
    }

    fn effects(&self, seq: Seq) -> u64 {
        self.number(&effect_of(seq))
    }

    fn number(&self, key: &DocKey) -> u64 {
        number_in(&at_once(self.store.read(key)).unwrap())
    }
}

/// A client that knows nothing yet.
fn client(schema: &ServiceSchema) -> Core {
    let addresses = (0..SERVERS).map(|index| index.to_string()).collect();
    let config = ClientConfig::default().max_in_flight(WINDOW);
    Core::new(config, schema.clone(), addresses, 1)
}

fn number_in(document: &Versioned) -> u64 {
    document.body.as_ref().map_or(0, |body| u64::from_le_bytes(body[..].try_into().unwrap()))
}

fn funds() -> DocKey {
    DocKey::new("cash", &"funds").unwrap()
}

fn effect_of(seq: Seq) -> DocKey {
    DocKey::new("effect", &seq).unwrap()
}

/// A memory store answers at once.
fn at_once<T>(future: StoreFuture<'_, T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a memory store never waits"),
    }
}

/// What the client counts of its calls is what a look at all of them says.
pub(super) fn check_counts(core: &Core) {
    let pending = || core.ring.iter().filter(|(_, call)| call.is_pending());
    let unsent = pending().filter(|(_, call)| call.state != CallState::Sent).count();
    assert_eq!(core.unsent, unsent);
    for (endpoint, index) in core.endpoints.iter().zip(0..) {
        let here =
            |call: &Call| call.state == CallState::Sent && call.endpoint == EndpointId(index);
        let in_flight = pending().filter(|(_, call)| here(call)).count();
        assert_eq!(endpoint.in_flight as usize, in_flight, "at server {index}");
    }
}

/// The frames in these bytes.
pub(super) fn cut(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = FrameDecoder::new(1 << 20);
    let (mut input, mut frames) = (bytes, Vec::new());
    loop {
        let mut finished = Vec::new();
        match decoder.next(&mut input, &mut finished).unwrap() {
            Some(frame) => frames.push(frame.to_vec()),
            None => return frames,
        }
    }
}

fn pick<T>(all: &[T], at: Index) -> Option<&T> {
    if all.is_empty() { None } else { Some(&all[at.index(all.len())]) }
}
