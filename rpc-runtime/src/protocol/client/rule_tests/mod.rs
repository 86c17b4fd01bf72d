//! The client alone, its servers played by hand: one rule per test.
//!
//! | file | whose rules |
//! | --- | --- |
//! | `mod.rs` | the client, and what is true of it after every step |
//! | `starting.rs` | how calls begin |
//! | `sending.rs` | where calls go, and with which header |
//! | `receiving.rs` | what answers mean |
//! | `timing.rs` | what time brings |

mod receiving;
mod sending;
mod starting;
mod timing;

use std::task::{Poll, Waker};
use std::time::Duration;

use super::call::{Call, CallState};
use super::{CallOptions, CallOutcome, ClientConfig, Core, EndpointId, Event, StartError};
use crate::error::{NotExecuted, RefusalReason};
use crate::id::{Attempt, ClientId, Incarnation, MethodId, Seq, SessionId, SessionSecret};
use crate::service::{Kind, ServiceSchema};
use crate::time::Time;
use crate::wire::frame::FrameDecoder;
use crate::wire::handshake::Welcome;
use crate::wire::request::ClientFrame;
use crate::wire::response::{ResponseHeader, ServerFrame, Status};

const FIRST: EndpointId = EndpointId(0);
const SECOND: EndpointId = EndpointId(1);
const METHOD: MethodId = MethodId(3);
const WINDOW: u32 = 1024;
/// The largest frame of the servers, and what it leaves for arguments.
const MAX_FRAME: usize = 1000;
const MAX_ARGUMENTS: usize = MAX_FRAME - super::send::MAX_REQUEST_HEADER;
const ONE_SECOND: Duration = Duration::from_secs(1);

struct Client {
    core: Core,
    now: Time,
}

/// What a server got.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Request(Request),
    Ack,
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
        let addresses = (0..servers).map(|index| format!("server-{index}")).collect();
        let mut client = Client { core: Core::new(config, schema, addresses, 1), now: Time(1) };
        client.core.handle_timeout(client.now);
        client
    }

    /// A client of so many servers, connected to all.
    fn with(config: ClientConfig, servers: u16) -> Client {
        let mut client = Client::apart(config, servers);
        (0..servers).for_each(|index| client.connect(EndpointId(index)));
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
        self.core.handle_connected(self.now, id);
        self.core.poll_transmit(id, &mut Vec::new());
        let session = SessionId { client: ClientId(7), incarnation: Incarnation::FIRST };
        let (secret, lease) = (SessionSecret([7; 16]), Duration::from_secs(60));
        let mut welcome = Vec::new();
        Welcome { session, secret, lease, window: WINDOW, max_frame: MAX_FRAME }.put(&mut welcome);
        self.core.handle_bytes(self.now, id, &welcome).unwrap();
        self.check();
    }

    /// Makes a call of this kind that is expected to find room.
    fn call(&mut self, kind: Kind) -> Seq {
        self.start(kind, CallOptions::USUAL, Vec::new()).unwrap()
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

    /// A server answers so many calls at once.
    fn answer_all(&mut self, from: EndpointId, headers: impl IntoIterator<Item = ResponseHeader>) {
        let mut bytes = Vec::new();
        headers.into_iter().for_each(|header| header.put(b"", &mut bytes));
        self.core.handle_bytes(self.now, from, &bytes).unwrap();
        self.check();
    }

    /// A server says that these calls have succeeded.
    fn succeed(&mut self, from: EndpointId, calls: impl IntoIterator<Item = u64>) {
        let success = |seq| response(Seq(seq), 1, Status::Success);
        self.answer_all(from, calls.into_iter().map(success));
    }

    /// A server shows that it lives, and says nothing of any call.
    fn pong(&mut self, from: EndpointId) {
        let mut bytes = Vec::new();
        ServerFrame::Pong.put(&mut bytes);
        self.core.handle_bytes(self.now, from, &bytes).unwrap();
        self.check();
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

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    /// All that was sent to a server since this was last asked.
    fn sent(&mut self, to: EndpointId) -> Vec<Sent> {
        let mut bytes = Vec::new();
        self.core.poll_transmit(to, &mut bytes);
        let (mut decoder, mut input) = (FrameDecoder::new(1 << 20), &bytes[..]);
        let mut sent = Vec::new();
        while let Some(frame) = decoder.next_lent(&mut input).unwrap() {
            sent.push(match ClientFrame::decode(frame).unwrap() {
                ClientFrame::Request(header, _) => Sent::Request(Request {
                    seq: header.seq,
                    attempt: header.attempt.0,
                    age: header.age,
                    deadline: header.deadline,
                    settle: header.settle,
                    ack: header.ack.map(|ack| (ack.watermark, ack.above().count())),
                }),
                ClientFrame::Ack(_) => Sent::Ack,
                ClientFrame::Cancel(seq) => Sent::Cancel(seq),
                ClientFrame::Ping => Sent::Ping,
                ClientFrame::Bye => Sent::Bye,
            });
        }
        sent
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
        let calls = || self.core.ring.iter().map(|(_, call)| call).filter(|call| call.is_pending());
        let sent = |call: &&Call| call.state == CallState::Sent;
        assert_eq!(self.core.unsent, calls().filter(|call| !sent(call)).count());
        for (index, endpoint) in self.core.endpoints.iter().enumerate() {
            let there = |call: &&Call| usize::from(call.endpoint.0) == index && sent(call);
            assert_eq!(endpoint.in_flight as usize, calls().filter(there).count());
        }
        self.core.poll_timeout();
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
