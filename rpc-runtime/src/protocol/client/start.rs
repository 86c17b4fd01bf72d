//! How a call begins, and from when on its time runs.
//!
//! To read a clock for every call would cost a tenth of the call. So the usual call is made without
//! ([`Core::start_untimed`]), and its time begins when the core is told the time next: at the latest
//! when its connection, which is woken for it, takes what is to be sent. Until then its deadline is
//! kept as what is left of it, and no timer is set. Whatever is told the time passes it on first
//! ([`Core::handle_time`]), so nothing ever looks at a call that has none.

use std::task::Waker;
use std::time::Duration;

use super::call::NewCall;
use super::send::{BITMAP_WORTH_SENDING, MAX_REQUEST_HEADER, acknowledged};
use super::{CallOptions, Core, EndpointId, Event};
use crate::error::NotExecuted;
use crate::id::{Attempt, MethodId, Seq};
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::time::Time;
use crate::wire::ack::Ack;
use crate::wire::request::{RequestHeader, put_usual};

/// A call that could not be started now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StartError {
    /// The window is full; the waker is called when it may have room, or at the deadline.
    WindowFull(Vec<u8>),
    /// It never will be.
    Refused(NotExecuted),
}

/// The window before a server has named its own.
const FIRST_WINDOW: u32 = 1024;
/// A caller that does not take its results may hold up the ring by this many windows.
const RING_WINDOWS: usize = 4;

impl Core {
    /// Makes and sends a call that needs nothing out of the usual: it has no options, there is room
    /// for it, and a server. It has `left` microseconds until its deadline. Leaves the arguments where they
    /// are where that is not so; [`start`](Core::start) then knows what to do.
    #[inline]
    pub(crate) fn start_untimed(
        &mut self,
        method: MethodId,
        kind: Kind,
        left: u64,
        arguments: &mut Vec<u8>,
        waker: &Waker,
    ) -> Option<Seq> {
        let leaves_session = self.is_session_used() && self.is_settled();
        let may_go_on =
            !self.closed && self.journal.is_none() && !leaves_session && self.has_room();
        let endpoint = may_go_on.then(|| self.choose(None)).flatten()?;
        let limit = self.config.max_frame_bytes.min(self.endpoint(endpoint).max_frame);
        if arguments.len() > limit.saturating_sub(MAX_REQUEST_HEADER)
            || self.ring.complete_above() >= BITMAP_WORTH_SENDING
        {
            return None;
        }
        self.count_call(kind);
        Some(self.send_untimed(method, kind, endpoint, left, arguments, waker))
    }

    /// Makes a call. `arguments` are encoded; the buffer is used for the result. `waker` is called when
    /// the call has ended.
    #[allow(clippy::too_many_arguments, reason = "a struct of them would be moved for every call")]
    pub(crate) fn start(
        &mut self,
        now: Time,
        method: MethodId,
        kind: Kind,
        options: Option<Box<CallOptions>>,
        deadline: Time,
        arguments: Vec<u8>,
        waker: &Waker,
    ) -> Result<Seq, StartError> {
        self.start_as(now, None, method, kind, options, deadline, arguments, waker)
    }

    /// As [`start`](Core::start), under a name.
    #[allow(clippy::too_many_arguments, reason = "those of `start`")]
    pub(super) fn start_as(
        &mut self,
        now: Time,
        name: Option<String>,
        method: MethodId,
        kind: Kind,
        options: Option<Box<CallOptions>>,
        deadline: Time,
        arguments: Vec<u8>,
        waker: &Waker,
    ) -> Result<Seq, StartError> {
        if self.closed {
            return Err(StartError::Refused(self.closed_reason()));
        }
        let limit = self.config.max_frame_bytes.saturating_sub(MAX_REQUEST_HEADER);
        if arguments.len() > limit {
            let size = arguments.len();
            return Err(StartError::Refused(NotExecuted::TooLarge { size, limit }));
        }
        self.handle_time(now);
        self.leave_used_session(now);
        let is_journalled = self.journal.is_some() && kind == Kind::Write;
        if !self.has_room() || !(is_journalled || self.may_number()) {
            return Err(StartError::WindowFull(arguments));
        }
        let (made_at, client, waker) = (now, self.client, Some(waker.clone()));
        let new = NewCall { kind, method, options, client, made_at, deadline, arguments, waker };
        if is_journalled {
            return self.start_journalled(name, new);
        }
        self.count_call(kind);
        self.note_call_at(deadline);
        let endpoint = self.choose(None);
        let (seq, call) = self.ring.push();
        call.begin(new);
        self.unsent += 1;
        match endpoint {
            Some(endpoint) => self.send_to(now, seq, endpoint),
            None => self.queue(seq),
        }
        Ok(seq)
    }

    /// Waits for room in the window, until the deadline.
    pub(crate) fn wait_for_room(&mut self, deadline: Time, waker: Waker) {
        self.window_waiters.push((deadline, waker));
        self.note_call_at(deadline);
    }

    /// Whether there are calls that have no time yet.
    #[inline]
    pub(crate) fn has_untimed(&self) -> bool {
        self.untimed.is_some()
    }

    /// The calls that were made since the time was last told begin now.
    #[inline]
    pub(crate) fn handle_time(&mut self, now: Time) {
        if let Some(first) = self.untimed.take() {
            self.time_calls(now, first);
        }
    }

    fn time_calls(&mut self, now: Time, first: Seq) {
        let mut earliest = Time::NEVER;
        // Calls that are made together mostly are of one method, and go to one server.
        let mut last = None;
        for seq in first.0..self.ring.next_seq().0 {
            // One that was dropped meanwhile is over.
            let Some(call) = self.ring.pending_mut(Seq(seq)) else { continue };
            let to = (call.endpoint, call.method);
            let patience = match last {
                Some((known, patience)) if known == to => patience,
                _ => {
                    let endpoint = &mut self.endpoints[usize::from(to.0.0)];
                    endpoint.last_sent = now;
                    self.timeouts.first(endpoint.rtt(to.1))
                }
            };
            last = Some((to, patience));
            let next_at = now.after(patience);
            call.note_time(now, next_at);
            earliest = earliest.min(next_at).min(call.deadline);
        }
        self.note_call_at(earliest);
    }

    #[inline]
    fn send_untimed(
        &mut self,
        method: MethodId,
        kind: Kind,
        endpoint: EndpointId,
        left: u64,
        arguments: &mut Vec<u8>,
        waker: &Waker,
    ) -> Seq {
        let watermark = self.ring.watermark();
        let (seq, call) = self.ring.push();
        let watermark = acknowledged(watermark, seq);
        let end = &mut self.endpoints[usize::from(endpoint.0)];
        let needs_ack = end.acked != Some(watermark) && kept(Rule::AcksHitchhike);
        let deadline = self.timeouts.deadline_to_send(left);
        let was_empty = end.out.is_empty();
        let ack = needs_ack.then_some(watermark);
        if !(deadline.is_none() && put_usual(seq, method, ack, arguments, &mut end.out)) {
            let header = RequestHeader {
                seq,
                attempt: Attempt::FIRST,
                age: Duration::ZERO,
                method,
                ack: needs_ack.then(|| Ack::new(watermark, &[])),
                deadline,
                trace: None,
                settle: false,
            };
            header.put(arguments, &mut end.out);
        }
        if needs_ack {
            end.note_acked(watermark);
        }
        end.in_flight += 1;
        call.begin_sent(kind, method, endpoint, self.client, left, arguments, waker);
        // The first without a time also wakes a connection that has bytes to send already: it may
        // be unable to send them, and the time must be told all the same.
        let is_first = self.untimed.is_none();
        if is_first {
            self.untimed = Some(seq);
        }
        if was_empty || is_first {
            self.events.push_back(Event::Transmit(endpoint));
        }
        seq
    }

    #[inline]
    pub(super) fn count_call(&mut self, kind: Kind) {
        self.stats.calls += 1;
        self.session_writes += u64::from(kind == Kind::Write);
        self.budget.deposit();
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
}
