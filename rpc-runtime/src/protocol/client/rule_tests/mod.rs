//! The client alone, its servers played by hand: one rule per test.
//!
//! | file | whose rules |
//! | --- | --- |
//! | `mod.rs` | the client, and what is true of it after every step |
//! | `connections.rs` | connecting, greeting, and what a loss means |
//! | `sessions.rs` | how long a session is used, and what its end means |
//! | `starting.rs` | how calls begin |
//! | `sending.rs` | where calls go, and with which header |
//! | `receiving.rs` | what answers mean |
//! | `timing.rs` | what time brings |
//! | `outcomes.rs` | closing, ids, dropping, asking again |

mod connections;
mod outcomes;
mod receiving;
mod sending;
mod sessions;
mod starting;
mod timing;

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use super::call::Call;
use super::pair_tests::{check_counts, cut};
use super::{CallOptions, CallOutcome, ClientConfig, Core, EndpointId, Event, Settled, StartError};
use crate::error::{NotExecuted, RefusalReason};
use crate::id::{Attempt, ClientId, Incarnation, MethodId, Seq, SessionId, SessionSecret};
use crate::service::{Kind, ServiceSchema};
use crate::time::Time;
use crate::wire::WireError;
use crate::wire::handshake::{Hello, Reject, RejectReason, Welcome};
use crate::wire::request::ClientFrame;
use crate::wire::response::{ResponseHeader, ServerFrame, Status};

const FIRST: EndpointId = EndpointId(0);
const SECOND: EndpointId = EndpointId(1);
const THIRD: EndpointId = EndpointId(2);
/// Whom the servers welcome.
const CLIENT: ClientId = ClientId(7);
/// Of a deposit.
const DEADLINE: Duration = Duration::from_secs(5);
const ARGUMENTS: &[u8] = b"arguments";
const RESULT: &[u8] = b"result";
const METHOD: MethodId = MethodId(3);
const WINDOW: u32 = 1024;
/// The largest frame of the servers, and what it leaves for arguments.
const MAX_FRAME: usize = 1000;
const MAX_ARGUMENTS: usize = MAX_FRAME - super::send::MAX_REQUEST_HEADER;
const ONE_SECOND: Duration = Duration::from_secs(1);
/// The least time that passes.
const TICK: Duration = Duration::from_micros(1);

struct Client {
    core: Core,
    now: Time,
}

/// What a server got.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// With the client of the session to go on with.
    Hello(Option<ClientId>),
    Request(Request),
    /// With its watermark.
    Ack(Seq),
    Cancel(Seq),
    Ping,
    Bye,
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    seq: Seq,
    attempt: u32,
    age: Duration,
    deadline: Option<Duration>,
    settle: bool,
    /// The watermark, and how many calls above it are acknowledged.
    ack: Option<(Seq, usize)>,
}

impl Client {
    /// A client of so many servers, connected to none.
    fn apart(config: ClientConfig, servers: u16) -> Client {
        let schema = ServiceSchema { name: "Test", methods: Vec::new() };
        let addresses = (0..servers).map(|index| format!("server {index}")).collect();
        let mut client = Client { core: Core::new(config, schema, addresses, 1), now: Time(1) };
        client.core.handle_timeout(client.now);
        let connects = (0..servers).map(|index| Event::Connect(EndpointId(index)));
        assert_eq!(client.events(), connects.collect::<Vec<_>>());
        client
    }

    /// A client of so many servers, connected to all.
    fn with(config: ClientConfig, servers: u16) -> Client {
        let mut client = Client::apart(config, servers);
        (0..servers).for_each(|index| client.connect(EndpointId(index)));
        client.events();
        client
    }

    /// A client of one server, as usual.
    fn new() -> Client {
        Client::with(ClientConfig::default(), 1)
    }

    /// A client of one server that retries only while what its budget holds at first lasts.
    fn without_budget() -> Client {
        let config = ClientConfig::default().retry_percent(0).retries_per_second(0);
        let mut client = Client::with(config, 1);
        client.spend_budget();
        client
    }

    fn spend_budget(&mut self) {
        while self.core.budget.withdraw(self.now) {}
    }

    fn connect(&mut self, id: EndpointId) {
        self.dial(id);
        self.core.poll_transmit(id, &mut Vec::new());
        self.welcome(id, CLIENT).unwrap();
        self.check();
    }

    /// A connection is made, and not welcomed yet.
    fn dial(&mut self, id: EndpointId) {
        self.core.handle_connected(self.now, id);
    }

    fn dial_all(&mut self, ids: &[EndpointId]) {
        ids.iter().for_each(|id| self.dial(*id));
    }

    fn welcome(&mut self, from: EndpointId, client: ClientId) -> Result<(), WireError> {
        let session = SessionId { client, incarnation: Incarnation::FIRST };
        let (secret, lease) = (SessionSecret([7; 16]), Duration::from_secs(3600));
        let mut welcome = Vec::new();
        Welcome { session, secret, lease, window: WINDOW, max_frame: MAX_FRAME }.put(&mut welcome);
        self.say(from, &welcome)
    }

    fn reject(&mut self, from: EndpointId, reason: RejectReason) {
        let mut bytes = Vec::new();
        Reject { reason, message: "not this one".to_owned() }.put(&mut bytes);
        self.say(from, &bytes).unwrap();
    }

    fn lose(&mut self, id: EndpointId) {
        self.core.handle_disconnected(self.now, id, "cut".to_owned());
    }

    fn say(&mut self, from: EndpointId, bytes: &[u8]) -> Result<(), WireError> {
        self.core.handle_bytes(self.now, from, bytes)
    }

    fn say_frame(&mut self, from: EndpointId, frame: ServerFrame<'_>) {
        let mut bytes = Vec::new();
        frame.put(&mut bytes);
        self.say(from, &bytes).unwrap();
        self.check();
    }

    /// Makes a call of this kind that is expected to find room.
    fn call(&mut self, kind: Kind) -> Seq {
        self.start(kind, CallOptions::USUAL, Vec::new()).unwrap()
    }

    /// A usual write, with arguments.
    fn deposit(&mut self) -> Seq {
        let (deadline, arguments) = (self.now + DEADLINE, ARGUMENTS.to_vec());
        let (kind, waker) = (Kind::Write, Waker::noop());
        self.core.start(self.now, METHOD, kind, None, deadline, arguments, waker).unwrap()
    }

    /// Makes so many usual writes, and what was sent of them is forgotten.
    fn make_writes(&mut self, count: u64) {
        for _ in 0..count {
            self.start_unchecked(Kind::Write, CallOptions::USUAL, Vec::new()).unwrap();
        }
        self.check();
        self.sent(FIRST);
    }

    fn start(
        &mut self,
        kind: Kind,
        options: CallOptions,
        arguments: Vec<u8>,
    ) -> Result<Seq, StartError> {
        let started = self.start_unchecked(kind, options, arguments);
        self.check();
        started
    }

    fn start_unchecked(
        &mut self,
        kind: Kind,
        options: CallOptions,
        arguments: Vec<u8>,
    ) -> Result<Seq, StartError> {
        let (options, deadline) = (Some(Box::new(options)), self.now + self.core.config.deadline);
        self.core.start(self.now, METHOD, kind, options, deadline, arguments, Waker::noop())
    }

    fn answer(&mut self, from: EndpointId, header: ResponseHeader) {
        self.answer_all(from, [header]);
    }

    /// A server answers the latest attempt of a call with a recorded success.
    fn answer_latest(&mut self, from: EndpointId, seq: Seq) {
        let attempt = self.look(seq).attempt().0;
        let header = ResponseHeader { committed: true, ..response(seq, attempt, Status::Success) };
        self.say_frame(from, ServerFrame::Response(header, RESULT));
    }

    /// A server answers so many calls at once.
    fn answer_all(&mut self, from: EndpointId, headers: impl IntoIterator<Item = ResponseHeader>) {
        let mut bytes = Vec::new();
        headers.into_iter().for_each(|header| header.put(b"", &mut bytes));
        self.say(from, &bytes).unwrap();
        self.check();
    }

    /// A server says that these calls have succeeded.
    fn succeed(&mut self, from: EndpointId, calls: impl IntoIterator<Item = u64>) {
        let success = |seq| response(Seq(seq), 1, Status::Success);
        self.answer_all(from, calls.into_iter().map(success));
    }

    /// A server shows that it lives, and says nothing of any call.
    fn pong(&mut self, from: EndpointId) {
        self.say_frame(from, ServerFrame::Pong);
    }

    /// The time of the call's latest attempt runs out.
    fn time_out(&mut self, seq: Seq) {
        let next_at = self.look(seq).next_at;
        self.pass(next_at.since(self.now));
    }

    /// The same, and its server has shown meanwhile that it lives.
    fn time_out_at_a_live_server(&mut self, seq: Seq) {
        let call = self.look(seq);
        let (server, left) = (call.endpoint, call.next_at.since(self.now));
        self.pass(left / 2);
        self.pong(server);
        self.time_out(seq);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.core.handle_timeout(self.now);
        self.check();
    }

    /// The call as the client sees it.
    fn look(&self, seq: Seq) -> &Call {
        self.core.ring.get(seq).unwrap()
    }

    /// How the call ended, if its caller can be told.
    fn told(&mut self, seq: Seq) -> Option<CallOutcome> {
        match self.core.poll_call(seq, Waker::noop()) {
            Poll::Ready(settled) => Some(settled.outcome),
            Poll::Pending => None,
        }
    }

    /// How the call has ended.
    fn take(&mut self, seq: Seq) -> Settled {
        match self.core.poll_call(seq, Waker::noop()) {
            Poll::Ready(settled) => settled,
            Poll::Pending => panic!("call {seq} is pending"),
        }
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    /// All that was sent to a server since this was last asked.
    fn sent(&mut self, to: EndpointId) -> Vec<Sent> {
        let mut bytes = Vec::new();
        self.core.poll_transmit(to, &mut bytes);
        cut(&bytes).iter().map(|frame| Sent::decode(frame)).collect()
    }

    /// The requests among what was sent to a server.
    fn requests(&mut self, to: EndpointId) -> Vec<Request> {
        let request = |sent| if let Sent::Request(request) = sent { Some(request) } else { None };
        self.sent(to).into_iter().filter_map(request).collect()
    }

    /// The only request that was sent to a server.
    fn request(&mut self, to: EndpointId) -> Request {
        let mut requests = self.requests(to);
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// What is counted is what the ring holds, and no timer is forgotten.
    fn check(&self) {
        check_counts(&self.core);
        self.core.poll_timeout();
    }
}

impl Sent {
    fn decode(frame: &[u8]) -> Sent {
        if let Ok(hello) = Hello::decode(frame) {
            return Sent::Hello(hello.session.map(|(id, _)| id.client));
        }
        match ClientFrame::decode(frame).unwrap() {
            ClientFrame::Request(header, _) => Sent::Request(Request {
                seq: header.seq,
                attempt: header.attempt.0,
                age: header.age,
                deadline: header.deadline,
                settle: header.settle,
                ack: header.ack.map(|ack| (ack.watermark, ack.above().count())),
            }),
            ClientFrame::Ack(ack) => Sent::Ack(ack.watermark),
            ClientFrame::Cancel(seq) => Sent::Cancel(seq),
            ClientFrame::Ping => Sent::Ping,
            ClientFrame::Bye => Sent::Bye,
        }
    }
}

/// A response that is tentative.
fn response(seq: Seq, attempt: u32, status: Status) -> ResponseHeader {
    let (attempt, server_time) = (Attempt(attempt), Duration::ZERO);
    ResponseHeader { seq, attempt, resend: false, committed: false, status, server_time }
}

fn overloaded(seq: Seq, attempt: u32) -> ResponseHeader {
    response(seq, attempt, Status::Refused(RefusalReason::Overloaded))
}

fn bad_arguments(seq: Seq, attempt: u32) -> ResponseHeader {
    response(seq, attempt, Status::Refused(RefusalReason::BadArguments))
}

fn is_refused(outcome: Option<CallOutcome>) -> bool {
    let Some(CallOutcome::NotExecuted(why)) = outcome else { return false };
    matches!(*why, NotExecuted::Refused { .. })
}

/// A moment about `pause` from now, give or take the jitter.
fn is_about(at: Time, now: Time, pause: Duration) -> bool {
    at >= now + pause * 3 / 4 && at <= now + pause * 5 / 4
}

/// A waker that is like no other.
fn waker() -> Waker {
    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    Waker::from(Arc::new(Nobody))
}
