//! The client's side of the protocol: one session, its pending calls, its servers.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Core`]: what the driver and the callers see of it |
//! | `config.rs` | [`ClientConfig`], every setting |
//! | `call.rs`, `ring.rs` | one pending call, and the ring that holds them by number |
//! | `endpoint.rs` | the picture of one server: connection, health, what was acknowledged there |
//! | `connect.rs` | connections: hello, welcome, reject, and what their loss means for calls |
//! | `start.rs` | how a call begins, and from when on its time runs |
//! | `send.rs` | where a call goes, and with which header |
//! | `receive.rs` | what a response means for its call |
//! | `outcome.rs` | how a call ends, and how its caller gets to know |
//! | `journal/` | what a client with a journal writes down before it acts on it |
//! | `timers.rs` | time-outs, deadlines, probes, lone acks |
//! | `rtt.rs`, `budget.rs` | how long to wait, and how often to try |
//! | `stats.rs` | what is counted |
//!
//! The life of a call:
//!
//! ```text
//!   start ─▶ Queued ─▶ Sent ──────────── response ───────────▶ Complete ─▶ (taken: Vacant)
//!              ▲         │  time-out, refusal, cut               ▲
//!              └─Backoff◀┘  (attempt + 1, retry bit)             │
//!                        └─ deadline: the same, but SETTLE ──────┘
//! ```
//!
//! With a journal, a write is Unwritten before it is Queued, and Ending before it is Complete.

mod budget;
mod call;
mod config;
mod connect;
mod endpoint;
mod journal;
mod outcome;
#[cfg(test)]
mod pair_tests;
mod receive;
mod ring;
#[cfg(test)]
mod ring_tests;
mod rtt;
#[cfg(test)]
mod rule_tests;
mod send;
mod start;
mod stats;
mod timers;

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use self::budget::RetryBudget;
pub use self::call::Hedge;
pub(crate) use self::call::{CallOptions, CallOutcome};
pub use self::config::ClientConfig;
pub(crate) use self::endpoint::EndpointId;
use self::endpoint::{Endpoint, Link};
use self::journal::Journal;
pub use self::journal::JournalledCall;
pub(crate) use self::journal::{NotStarted, Restored};
use self::outcome::KeptOutcome;
pub(crate) use self::outcome::Settled;
use self::ring::CallRing;
use self::rtt::Timeouts;
pub(crate) use self::start::StartError;
pub use self::stats::ClientStats;
use crate::error::{NotExecuted, Unknown};
use crate::id::{CallId, ClientId, Seq, SessionId, SessionSecret};
use crate::service::ServiceSchema;
use crate::time::Time;
use crate::wire::handshake::Reject;
use crate::wire::request::ClientFrame;

/// A client: one session on any number of servers.
#[derive(Debug)]
pub(crate) struct Core {
    config: ClientConfig,
    schema: ServiceSchema,
    timeouts: Timeouts,
    rng: fastrand::Rng,
    session: Option<Session>,
    /// Writes made in the session, or waiting for it.
    session_writes: u64,
    /// The endpoint that is opening the session, while there is none.
    opener: Option<EndpointId>,
    ring: CallRing,
    /// The client that the ring's calls belong to, known once a session was opened.
    client: ClientId,
    endpoints: Vec<Endpoint>,
    budget: RetryBudget,
    /// Calls in the ring that are neither sent nor complete.
    unsent: usize,
    /// The first of the calls that were made since the time was last told, if there are any.
    untimed: Option<Seq>,
    /// No call needs attention earlier.
    next_call_at: Time,
    /// Nothing at all needs attention earlier: [`handle_timeout`](Core::handle_timeout) finds out
    /// when exactly, everything else only brings it forward.
    next_at: Time,
    /// Where the search for the least busy endpoint begins, so that equals take turns.
    turn: usize,
    events: VecDeque<Event>,
    /// To be woken once the lock on the core is released.
    wakers: Vec<Waker>,
    /// Callers that wait for room in the window, with their deadlines.
    window_waiters: Vec<(Time, Waker)>,
    /// How calls ended whose callers gave up, oldest first.
    kept_outcomes: VecDeque<KeptOutcome>,
    /// What must be written down before it is acted on, in a client that remembers across a crash.
    journal: Option<Box<Journal>>,
    closed: bool,
    stats: ClientStats,
}

/// What the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Connect to this endpoint, then report with `handle_connected` or `handle_disconnected`.
    Connect(EndpointId),
    /// Drop the connection to this endpoint; it has been given up.
    Close(EndpointId),
    /// The endpoint has bytes to send.
    Transmit(EndpointId),
    /// The journal has something to write.
    Journal,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: SessionId,
    secret: SessionSecret,
    window: u32,
}

impl Core {
    /// A client of `schema`'s service on these addresses, connected to none of them yet.
    pub(crate) fn new(
        config: ClientConfig,
        schema: ServiceSchema,
        addresses: Vec<String>,
        seed: u64,
    ) -> Core {
        let budget = RetryBudget::new(config.retry_percent, config.retries_per_second);
        Core {
            schema,
            timeouts: Timeouts::new(&config),
            rng: fastrand::Rng::with_seed(seed),
            session: None,
            session_writes: 0,
            opener: None,
            ring: CallRing::new(),
            client: ClientId(0),
            endpoints: addresses.into_iter().map(Endpoint::new).collect(),
            budget,
            unsent: 0,
            untimed: None,
            next_call_at: Time::NEVER,
            next_at: Time::ZERO,
            turn: 0,
            events: VecDeque::new(),
            wakers: Vec::new(),
            window_waiters: Vec::new(),
            kept_outcomes: VecDeque::new(),
            journal: None,
            closed: false,
            stats: ClientStats::default(),
            config,
        }
    }

    /// Takes no more calls and ends those that are left: at once, for whoever still waits.
    pub(crate) fn handle_close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        // Before the rest is ended: what was not answered is not acknowledged.
        let all_settled = self.ring.beyond_watermark() == 0;
        for index in 0..self.endpoints.len() {
            let id = EndpointId(index as u16);
            if self.endpoints[index].link == Link::Up {
                self.send_ack(id);
                if all_settled {
                    ClientFrame::Bye.put(&mut self.endpoints[index].out);
                }
                self.events.push_back(Event::Transmit(id));
            }
        }
        if all_settled {
            self.journal_no_session();
        }
        self.abandon_all(&Unknown::ClientClosed, &NotExecuted::ClientClosed);
        self.wakers.extend(self.window_waiters.drain(..).map(|(_, waker)| waker));
    }

    /// Whether there is an event, or a caller to be woken.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        !self.events.is_empty() || !self.wakers.is_empty()
    }

    /// The next thing for the driver to do.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Moves the bytes that an endpoint has to send into `buffer`, which must be empty.
    pub(crate) fn poll_transmit(&mut self, endpoint: EndpointId, buffer: &mut Vec<u8>) -> bool {
        debug_assert!(buffer.is_empty(), "what was taken must be sent first");
        std::mem::swap(&mut self.endpoint_mut(endpoint).out, buffer);
        !buffer.is_empty()
    }

    /// Takes the callers that are to be woken.
    pub(crate) fn poll_wakers(&mut self, into: &mut Vec<Waker>) {
        if into.is_empty() {
            std::mem::swap(into, &mut self.wakers);
        } else {
            into.append(&mut self.wakers);
        }
    }

    /// The full id of a call.
    pub(crate) fn call_id(&self, seq: Seq) -> CallId {
        let sent = self.ring.get(seq).filter(|call| call.attempts > 0);
        CallId { client: sent.map_or(self.client, |call| call.client), seq }
    }

    pub(crate) fn stats(&self) -> ClientStats {
        self.stats
    }

    /// Whether every call has been settled, even those whose callers are gone.
    pub(crate) fn is_settled(&self) -> bool {
        self.ring.beyond_watermark() == 0
    }

    /// How many calls have not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        self.ring.beyond_watermark() - self.ring.complete_above()
    }

    /// Whether a server is connected.
    pub(crate) fn is_up(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.link == Link::Up)
    }

    /// The server that refused this client for good, if all of them have been heard and none took it.
    pub(crate) fn rejection(&self) -> Option<(&str, &Reject)> {
        let rejected = |endpoint: &Endpoint| {
            endpoint.reject.as_ref().is_some_and(|reject| !reject.reason.is_passing())
        };
        if !self.endpoints.iter().all(rejected) {
            return None;
        }
        let first = self.endpoints.first()?;
        Some((&first.address, first.reject.as_ref()?))
    }

    /// What stands in the way of each endpoint.
    pub(crate) fn troubles(&self) -> String {
        let trouble = |endpoint: &Endpoint| {
            let what = match (&endpoint.reject, &endpoint.trouble) {
                (Some(reject), _) => reject.message.clone(),
                (None, Some(trouble)) => trouble.clone(),
                (None, None) => "no answer".to_owned(),
            };
            format!("{}: {what}", endpoint.address)
        };
        self.endpoints.iter().map(trouble).collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn address(&self, endpoint: EndpointId) -> &str {
        &self.endpoints[usize::from(endpoint.0)].address
    }

    fn put(&mut self, endpoint: EndpointId, frame: ClientFrame<'_>) {
        let end = self.endpoint_mut(endpoint);
        let was_empty = end.out.is_empty();
        frame.put(&mut end.out);
        if was_empty {
            self.events.push_back(Event::Transmit(endpoint));
        }
    }

    #[inline]
    fn note_call_at(&mut self, at: Time) {
        self.next_call_at = self.next_call_at.min(at);
        self.note_at(at);
    }

    #[inline]
    fn note_at(&mut self, at: Time) {
        self.next_at = self.next_at.min(at);
    }

    fn endpoint(&self, id: EndpointId) -> &Endpoint {
        &self.endpoints[usize::from(id.0)]
    }

    fn endpoint_mut(&mut self, id: EndpointId) -> &mut Endpoint {
        &mut self.endpoints[usize::from(id.0)]
    }

    /// A duration of about this long: jitter keeps clients from moving in step.
    fn jittered(&mut self, duration: Duration) -> Duration {
        duration.mul_f64(0.75 + self.rng.f64() / 2.0)
    }
}
