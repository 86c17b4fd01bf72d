//! The client's side of the protocol: one session, its pending calls, its servers.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Core`]: what the driver and the callers see of it |
//! | `config.rs` | [`ClientConfig`], every setting |
//! | `call.rs` | one pending call, and the ring that holds them by number |
//! | `endpoint.rs` | the picture of one server: connection, health, what was acknowledged there |
//! | `connect.rs` | connections: hello, welcome, reject, and what their loss means for calls |
//! | `send.rs` | where a call goes, and with which header |
//! | `receive.rs` | what a response means for its call |
//! | `timers.rs` | time-outs, deadlines, probes, lone acks |
//! | `rtt.rs`, `budget.rs` | how long to wait, and how often to try |
//!
//! The life of a call:
//!
//! ```text
//!   start ─▶ Queued ─▶ Sent ──────────── response ───────────▶ Complete ─▶ (taken: Vacant)
//!              ▲         │  time-out, refusal, cut               ▲
//!              └─Backoff◀┘  (attempt + 1, retry bit)             │
//!                        └─ deadline: the same, but SETTLE ──────┘
//! ```

mod budget;
mod call;
mod config;
mod connect;
mod endpoint;
#[cfg(test)]
mod pair_tests;
mod receive;
#[cfg(test)]
mod ring_tests;
mod rtt;
mod send;
mod timers;

use std::collections::VecDeque;
use std::task::{Poll, Waker};
use std::time::Duration;

use self::budget::RetryBudget;
pub use self::call::Hedge;
use self::call::{Call, CallRing, CallState, Caller};
pub(crate) use self::call::{CallOptions, CallOutcome};
pub use self::config::ClientConfig;
pub(crate) use self::endpoint::EndpointId;
use self::endpoint::{Endpoint, Link};
use crate::error::{NotExecuted, Unknown};
use crate::id::{Attempt, CallId, ClientId, MethodId, Seq, SessionId, SessionSecret};
use crate::rule::{Rule, kept};
use crate::service::{Kind, ServiceSchema};
use crate::time::Time;
use crate::wire::handshake::Reject;
use crate::wire::request::ClientFrame;

/// A client: one session on any number of servers.
#[derive(Debug)]
pub(crate) struct Core {
    config: ClientConfig,
    schema: ServiceSchema,
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
    /// No call needs attention earlier.
    next_call_at: Time,
    /// Where the search for the least busy endpoint begins, so that equals take turns.
    turn: usize,
    events: VecDeque<Event>,
    /// To be woken once the lock on the core is released.
    wakers: Vec<Waker>,
    /// Callers that wait for room in the window, with their deadlines.
    window_waiters: Vec<(Time, Waker)>,
    /// How calls ended whose callers gave up, oldest first.
    kept_outcomes: VecDeque<KeptOutcome>,
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
}

/// What a client has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Calls made.
    pub calls: u64,
    /// Sends of calls that had been sent before.
    pub retries: u64,
    /// Retries that went to another server than the send before.
    pub failovers: u64,
    /// Second sends made ahead of a time-out.
    pub hedges: u64,
    /// Time-outs of calls.
    pub timeouts: u64,
    /// Responses that came with the mark of a re-send.
    pub resent_responses: u64,
    /// Responses to calls that were no longer pending, or to an earlier attempt and not committed.
    pub dropped_responses: u64,
    /// Answers that a call is still running.
    pub in_progress: u64,
    /// Attempts that a server refused.
    pub refused: u64,
    /// Times that a server became suspect.
    pub suspicions: u64,
    /// Connections that were established.
    pub connections: u64,
    /// Sessions that were opened.
    pub sessions: u64,
    /// Calls whose outcome was unknown when their caller gave up.
    pub unknown: u64,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: SessionId,
    secret: SessionSecret,
    window: u32,
}

#[derive(Debug)]
struct KeptOutcome {
    id: CallId,
    arguments: u64,
    outcome: CallOutcome,
    payload: Vec<u8>,
}

/// A call that could not be started now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StartError {
    /// The window is full; the waker is called when it may have room, or at the deadline.
    WindowFull(Vec<u8>),
    /// It never will be.
    Refused(NotExecuted),
}

/// What a caller gets: how its call ended, and the buffer with the value or error.
pub(crate) type Settled = (CallOutcome, Vec<u8>);

/// The window before a server has named its own.
const FIRST_WINDOW: u32 = 1024;
/// A caller that does not take its results may hold up the ring by this many windows.
const RING_WINDOWS: usize = 4;

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
            rng: fastrand::Rng::with_seed(seed),
            session: None,
            session_writes: 0,
            opener: None,
            ring: CallRing::new(),
            client: ClientId(0),
            endpoints: addresses.into_iter().map(Endpoint::new).collect(),
            budget,
            unsent: 0,
            next_call_at: Time::NEVER,
            turn: 0,
            events: VecDeque::new(),
            wakers: Vec::new(),
            window_waiters: Vec::new(),
            kept_outcomes: VecDeque::new(),
            closed: false,
            stats: ClientStats::default(),
            config,
        }
    }

    /// Makes a call. `arguments` are encoded; the buffer is used for the result.
    pub(crate) fn start(
        &mut self,
        now: Time,
        method: MethodId,
        kind: Kind,
        options: CallOptions,
        deadline: Time,
        arguments: Vec<u8>,
    ) -> Result<Seq, StartError> {
        if self.closed {
            return Err(StartError::Refused(NotExecuted::ClientClosed));
        }
        let limit = self.config.max_frame_bytes - send::MAX_REQUEST_HEADER;
        if arguments.len() > limit {
            let size = arguments.len();
            return Err(StartError::Refused(NotExecuted::TooLarge { size, limit }));
        }
        self.leave_used_session(now);
        if !self.has_room() {
            return Err(StartError::WindowFull(arguments));
        }
        self.stats.calls += 1;
        self.session_writes += u64::from(kind == Kind::Write);
        self.budget.deposit();
        let seq = self.ring.push(Call {
            state: CallState::Queued,
            caller: Caller::Waiting,
            kind,
            method,
            options,
            client: self.client,
            attempts: 0,
            refused: 0,
            last_refused: Attempt(0),
            settle: false,
            endpoint: EndpointId(0),
            silent: 0,
            in_progress: false,
            made_at: now,
            sent_at: now,
            sent_before: now,
            asked_at: now,
            runs_there: false,
            next_at: Time::NEVER,
            hedge_at: Time::NEVER,
            deadline,
            buffer: arguments,
            outcome: None,
            waker: None,
            refusal: None,
        });
        self.unsent += 1;
        self.note_call_at(deadline);
        self.send(now, seq);
        Ok(seq)
    }

    /// Goes on with a call whose caller gave up.
    ///
    /// # Errors
    /// With how it ended meanwhile, or why it cannot be asked again.
    pub(crate) fn ask_again(
        &mut self,
        now: Time,
        id: CallId,
        deadline: Time,
        arguments: &[u8],
    ) -> Result<Seq, Settled> {
        if self.closed {
            return Err((CallOutcome::Unknown(Unknown::ClientClosed), Vec::new()));
        }
        if let Some(position) = self.kept_outcomes.iter().position(|kept| kept.id == id) {
            if self.kept_outcomes[position].arguments != hash(arguments) {
                return Err((CallOutcome::NotExecuted(NotExecuted::IdReused), Vec::new()));
            }
            let kept = self.kept_outcomes.remove(position).expect("found just now");
            return Err((kept.outcome, kept.payload));
        }
        let stale = || Err((CallOutcome::Unknown(Unknown::Stale), Vec::new()));
        if id.client != self.client || self.session.is_none() {
            return stale();
        }
        let settle_grace = self.config.settle_grace;
        let Some(call) = self.ring.pending_mut(id.seq) else { return stale() };
        if call.caller != Caller::GaveUp {
            return stale();
        }
        if call.buffer != arguments {
            return Err((CallOutcome::NotExecuted(NotExecuted::IdReused), Vec::new()));
        }
        call.caller = Caller::Waiting;
        call.outcome = None;
        call.settle = false;
        call.silent = 0;
        call.deadline = deadline;
        call.next_at = call.next_at.min(now + settle_grace);
        let at = call.next_at.min(deadline);
        self.note_call_at(at);
        Ok(id.seq)
    }

    /// How a call ended, once it has.
    pub(crate) fn poll_call(&mut self, seq: Seq, waker: &Waker) -> Poll<Settled> {
        let call = self.ring.get_mut(seq).expect("a call's future holds its place");
        match call.outcome.take() {
            None => {
                if !call.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    call.waker = Some(waker.clone());
                }
                Poll::Pending
            }
            Some(outcome) => {
                if call.state != CallState::Complete {
                    // It gave up; the call itself stays pending until it is settled.
                    return Poll::Ready((outcome, Vec::new()));
                }
                let buffer = std::mem::take(&mut call.buffer);
                call.state = CallState::Vacant;
                self.ring.trim();
                Poll::Ready((outcome, buffer))
            }
        }
    }

    /// The caller of a call has dropped its future.
    pub(crate) fn handle_dropped(&mut self, seq: Seq) {
        let Some(call) = self.ring.get_mut(seq) else { return };
        call.waker = None;
        match call.state {
            CallState::Complete if kept(Rule::FreeDropped) => {
                call.state = CallState::Vacant;
                call.buffer = Vec::new();
                self.ring.trim();
            }
            CallState::Vacant | CallState::Complete => {}
            CallState::Queued | CallState::Backoff | CallState::Sent => {
                if call.caller == Caller::Waiting {
                    self.abandon(seq);
                }
            }
        }
    }

    /// Waits for room in the window, until the deadline.
    pub(crate) fn wait_for_room(&mut self, deadline: Time, waker: Waker) {
        self.window_waiters.push((deadline, waker));
        self.note_call_at(deadline);
    }

    /// Takes no more calls and ends those that are left: at once, for whoever still waits.
    pub(crate) fn handle_close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        let all_settled = self.ring.beyond_watermark() == 0;
        self.fail_pending(&Unknown::ClientClosed, &NotExecuted::ClientClosed);
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
        self.wakers.extend(self.window_waiters.drain(..).map(|(_, waker)| waker));
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
        into.append(&mut self.wakers);
    }

    /// The full id of a call.
    pub(crate) fn call_id(&self, seq: Seq) -> CallId {
        let sent = self.ring.get(seq).filter(|call| call.attempts > 0);
        CallId { client: sent.map_or(self.client, |call| call.client), seq }
    }

    /// How often a call was sent.
    pub(crate) fn attempts(&self, seq: Seq) -> u32 {
        self.ring.get(seq).map_or(0, |call| call.attempts)
    }

    pub(crate) fn stats(&self) -> ClientStats {
        self.stats
    }

    /// Whether every call has been settled, even those whose callers are gone.
    pub(crate) fn is_settled(&self) -> bool {
        self.ring.beyond_watermark() == 0
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

    fn has_room(&self) -> bool {
        if self.session_writes >= self.config.max_session_writes.max(1) {
            return false;
        }
        let granted = self.session.map_or(FIRST_WINDOW, |session| session.window);
        let window = granted.min(self.config.max_in_flight);
        (self.ring.beyond_watermark() < u64::from(window) || !kept(Rule::Window))
            && self.ring.len() < RING_WINDOWS * window as usize
    }

    /// Nobody waits for a call any more: its outcome is settled in the background, since an id may
    /// be acknowledged only when nothing can happen under it any more.
    fn abandon(&mut self, seq: Seq) {
        let call = self.ring.get_mut(seq).expect("the caller has found it");
        call.caller = Caller::Dropped;
        let (endpoint, sent) = (call.endpoint, call.attempts > 0);
        let must_settle = call.kind == Kind::Write && !call.was_never_run();
        if must_settle && kept(Rule::SettleDropped) {
            call.settle = true;
        } else {
            let outcome = CallOutcome::NotExecuted(NotExecuted::ClientClosed);
            self.complete(seq, outcome, &[]);
        }
        if sent && self.endpoint(endpoint).link == Link::Up {
            self.put(endpoint, ClientFrame::Cancel(seq));
        }
    }

    /// Ends a call for its caller. `payload` is its value or error.
    fn complete(&mut self, seq: Seq, outcome: CallOutcome, payload: &[u8]) {
        let Some(call) = self.ring.pending_mut(seq) else { return };
        match call.state {
            CallState::Sent => {
                let endpoint = call.endpoint;
                self.endpoints[usize::from(endpoint.0)].in_flight -= 1;
            }
            _ => self.unsent -= 1,
        }
        let call = self.ring.pending_mut(seq).expect("found above");
        let id = CallId { client: self.client, seq };
        match call.caller {
            Caller::Waiting => {
                call.buffer.clear();
                call.buffer.extend_from_slice(payload);
                call.state = CallState::Complete;
                call.outcome = Some(outcome);
                self.wakers.extend(call.waker.take());
            }
            Caller::GaveUp => {
                let arguments = hash(&call.buffer);
                call.state = CallState::Vacant;
                call.buffer = Vec::new();
                let payload = payload.to_vec();
                self.kept_outcomes.push_back(KeptOutcome { id, arguments, outcome, payload });
                if self.kept_outcomes.len() > self.config.max_kept_outcomes {
                    self.kept_outcomes.pop_front();
                }
            }
            Caller::Dropped => {
                call.state = CallState::Vacant;
                call.buffer = Vec::new();
            }
        }
        let moved = self.ring.note_complete(seq);
        if moved {
            self.ring.trim();
            if !self.window_waiters.is_empty() {
                self.wakers.extend(self.window_waiters.drain(..).map(|(_, waker)| waker));
            }
        }
    }

    /// Ends every pending call: what was never run as not executed, the rest as unknown.
    fn fail_pending(&mut self, unknown: &Unknown, not_executed: &NotExecuted) {
        let pending: Vec<Seq> =
            self.ring.iter().filter(|(_, call)| call.is_pending()).map(|(seq, _)| seq).collect();
        for seq in pending {
            let call = self.ring.get(seq).expect("listed just now");
            let outcome = if call.was_never_run() {
                CallOutcome::NotExecuted(not_executed.clone())
            } else {
                CallOutcome::Unknown(unknown.clone())
            };
            self.complete(seq, outcome, &[]);
        }
    }

    fn put(&mut self, endpoint: EndpointId, frame: ClientFrame<'_>) {
        let end = self.endpoint_mut(endpoint);
        let was_empty = end.out.is_empty();
        frame.put(&mut end.out);
        if was_empty {
            self.events.push_back(Event::Transmit(endpoint));
        }
    }

    fn note_call_at(&mut self, at: Time) {
        self.next_call_at = self.next_call_at.min(at);
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

fn hash(arguments: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(arguments)
}
