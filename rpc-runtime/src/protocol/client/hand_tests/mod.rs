//! The client's side alone, driven by hand: each test states one rule, at explicit times.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the client, and what its servers hear and say |
//! | `connections.rs` | connecting, greeting, and what a loss means |
//! | `outcomes.rs` | closing, ids, dropping, asking again |

mod connections;
mod outcomes;

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use super::pair_tests::{check_counts, cut};
use super::{ClientConfig, Core, EndpointId, Event, Settled};
use crate::id::{Attempt, ClientId, Incarnation, MethodId, Seq, SessionId, SessionSecret};
use crate::schema::Schema;
use crate::service::{Kind, MethodSchema, ServiceSchema};
use crate::time::Time;
use crate::wire::WireError;
use crate::wire::handshake::{Hello, Reject, RejectReason, Welcome};
use crate::wire::request::ClientFrame;
use crate::wire::response::{ResponseHeader, ServerFrame, Status};

const DEADLINE: Duration = Duration::from_secs(5);
const DEPOSIT: MethodId = MethodId(0);
const ARGUMENTS: &[u8] = b"arguments";
const RESULT: &[u8] = b"result";
/// The least time that passes.
const TICK: Duration = Duration::from_micros(1);
/// Whom the servers welcome.
const CLIENT: ClientId = ClientId(7);

/// A client whose driver, servers and callers are a test.
struct Hand {
    now: Time,
    core: Core,
}

/// What a server hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// With the client of the session to go on with.
    Hello(Option<ClientId>),
    Request(Seq, Attempt),
    /// A request that only asks how its call ended.
    Settle(Seq, Attempt),
    Ack(Seq),
    Cancel(Seq),
    Ping,
    Bye,
}

impl Hand {
    /// A client that connects to so many servers.
    fn new(servers: usize) -> Hand {
        Hand::with(ClientConfig::default(), servers)
    }

    fn with(config: ClientConfig, servers: usize) -> Hand {
        let deposit = MethodSchema::new(
            DEPOSIT.0,
            "deposit",
            Kind::Write,
            &[],
            u64::describe,
            <()>::describe,
        );
        let schema = ServiceSchema { name: "Cash", methods: vec![deposit] };
        let addresses = (0..servers).map(|index| format!("server {index}")).collect();
        let now = Time::ZERO + Duration::from_secs(1);
        let mut hand = Hand { now, core: Core::new(config, schema, addresses, 1) };
        hand.core.handle_timeout(now);
        let connects = (0..servers).map(|index| Event::Connect(EndpointId(index as u16)));
        assert_eq!(hand.events(), connects.collect::<Vec<_>>());
        hand
    }

    /// A client that is connected to all its servers.
    fn up(servers: u16) -> Hand {
        Hand::up_with(ClientConfig::default(), servers)
    }

    fn up_with(config: ClientConfig, servers: u16) -> Hand {
        let mut hand = Hand::with(config, usize::from(servers));
        for server in 0..servers {
            hand.connect(server);
            hand.welcome(server, CLIENT).unwrap();
            hand.heard(server);
        }
        hand.events();
        hand
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now + by;
        self.core.handle_timeout(self.now);
    }

    fn connect(&mut self, server: u16) {
        self.core.handle_connected(self.now, EndpointId(server));
    }

    fn lose(&mut self, server: u16) {
        self.core.handle_disconnected(self.now, EndpointId(server), "cut".to_owned());
    }

    fn say(&mut self, server: u16, bytes: &[u8]) -> Result<(), WireError> {
        self.core.handle_bytes(self.now, EndpointId(server), bytes)
    }

    fn welcome(&mut self, server: u16, client: ClientId) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        Welcome {
            session: SessionId { client, incarnation: Incarnation(1) },
            secret: SessionSecret([7; 16]),
            lease: Duration::from_secs(3600),
            window: 16,
            max_frame: 1 << 20,
        }
        .put(&mut bytes);
        self.say(server, &bytes)
    }

    fn reject(&mut self, server: u16, reason: RejectReason) {
        let mut bytes = Vec::new();
        Reject { reason, message: "not this one".to_owned() }.put(&mut bytes);
        self.say(server, &bytes).unwrap();
    }

    fn say_frame(&mut self, server: u16, frame: ServerFrame<'_>) {
        let mut bytes = Vec::new();
        frame.put(&mut bytes);
        self.say(server, &bytes).unwrap();
    }

    /// A server answers the latest attempt of a call with a recorded success.
    fn answer(&mut self, server: u16, seq: Seq) {
        let header = ResponseHeader {
            seq,
            attempt: self.core.ring.get(seq).unwrap().attempt(),
            resend: false,
            committed: true,
            status: Status::Success,
            server_time: Duration::ZERO,
        };
        self.say_frame(server, ServerFrame::Response(header, RESULT));
    }

    /// A caller makes a deposit.
    fn call(&mut self) -> Seq {
        let (now, deadline) = (self.now, self.now + DEADLINE);
        let arguments = ARGUMENTS.to_vec();
        let waker = Waker::noop();
        self.core.start(now, DEPOSIT, Kind::Write, None, deadline, arguments, waker).unwrap()
    }

    /// How a call has ended.
    fn take(&mut self, seq: Seq) -> Settled {
        match self.core.poll_call(seq, Waker::noop()) {
            Poll::Ready(settled) => settled,
            Poll::Pending => panic!("call {seq} is pending"),
        }
    }

    fn is_pending(&self, seq: Seq) -> bool {
        self.core.ring.get(seq).is_some_and(|call| call.is_pending())
    }

    /// What a server has heard since it was asked last.
    fn heard(&mut self, server: u16) -> Vec<Heard> {
        check_counts(&self.core);
        let mut bytes = Vec::new();
        self.core.poll_transmit(EndpointId(server), &mut bytes);
        cut(&bytes).iter().map(|frame| Heard::decode(frame)).collect()
    }

    /// What the driver was told to do since it was asked last.
    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    fn until_next(&self) -> Duration {
        self.core.poll_timeout().since(self.now)
    }
}

impl Heard {
    fn decode(frame: &[u8]) -> Heard {
        if let Ok(hello) = Hello::decode(frame) {
            return Heard::Hello(hello.session.map(|(id, _)| id.client));
        }
        match ClientFrame::decode(frame).unwrap() {
            ClientFrame::Request(header, _) if header.settle => {
                Heard::Settle(header.seq, header.attempt)
            }
            ClientFrame::Request(header, _) => Heard::Request(header.seq, header.attempt),
            ClientFrame::Ack(ack) => Heard::Ack(ack.watermark),
            ClientFrame::Cancel(seq) => Heard::Cancel(seq),
            ClientFrame::Ping => Heard::Ping,
            ClientFrame::Bye => Heard::Bye,
        }
    }
}

/// A waker that is like no other.
fn waker() -> Waker {
    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    Waker::from(Arc::new(Nobody))
}

/// Whether this is about as long as that: pauses are jittered by a quarter.
fn is_about(pause: Duration, expected: Duration) -> bool {
    pause >= expected.mul_f64(0.75) && pause <= expected.mul_f64(1.25)
}
