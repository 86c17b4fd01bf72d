//! What comes in, and what a response means for its call.

use super::Core;
use super::call::{CallOutcome, CallState};
use super::connect::backoff;
use super::endpoint::{EndpointId, Link};
use crate::error::{NotExecuted, Refusal, RefusalReason, Unknown};
use crate::id::Attempt;
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::time::Time;
use crate::wire::WireError;
use crate::wire::handshake::{Reject, decode_reply};
use crate::wire::response::{ResponseHeader, ServerFrame, Status, kind};

impl Core {
    /// Bytes came in from an endpoint. An error means that the peer does not keep to the protocol:
    /// the connection must be dropped and reported as disconnected.
    pub(crate) fn handle_bytes(
        &mut self,
        now: Time,
        id: EndpointId,
        bytes: &[u8],
    ) -> Result<(), WireError> {
        self.handle_time(now);
        self.note_life(now, id);
        let mut input = bytes;
        loop {
            let mut finished = Vec::new();
            let decoder = &mut self.endpoints[usize::from(id.0)].decoder;
            let Some(frame) = decoder.next(&mut input, &mut finished)? else { return Ok(()) };
            match self.endpoint(id).link {
                Link::Up | Link::Welcomed => self.handle_frame(now, id, frame)?,
                Link::Greeting { .. } => match decode_reply(frame)? {
                    Ok(welcome) => self.handle_welcome(now, id, &welcome)?,
                    Err(reject) => self.handle_reject(now, id, reject),
                },
                // Given up while its last bytes were on their way.
                Link::Down { .. } | Link::Leaving { .. } => return Ok(()),
                Link::Connecting { .. } | Link::AwaitingSession => {
                    return Err(WireError::OutOfPlace(frame[0]));
                }
            }
        }
    }

    fn handle_frame(&mut self, now: Time, id: EndpointId, frame: &[u8]) -> Result<(), WireError> {
        if frame[0] & kind::MASK == kind::REJECT {
            let reject = Reject::decode(frame)?;
            self.handle_reject(now, id, reject);
            return Ok(());
        }
        match ServerFrame::decode(frame)? {
            ServerFrame::Response(header, payload) => {
                self.handle_response(now, id, &header, payload);
            }
            ServerFrame::GoAway => {
                self.endpoint_mut(id).draining = true;
            }
            ServerFrame::Pong => {}
        }
        Ok(())
    }

    /// Any byte shows that the server lives.
    fn note_life(&mut self, now: Time, id: EndpointId) {
        let endpoint = self.endpoint_mut(id);
        endpoint.last_byte = now;
        endpoint.silent_timeouts = 0;
        if endpoint.suspicion.take().is_some() {
            self.note_care(id);
            self.send_queued(now);
        }
    }

    fn handle_response(
        &mut self,
        now: Time,
        id: EndpointId,
        header: &ResponseHeader,
        payload: &[u8],
    ) {
        self.stats.resent_responses += u64::from(header.resend);
        let header = &self.addressed(header);
        if self.handle_usual(now, id, header, payload) {
            return;
        }
        let Some(call) = self.ring.pending_mut(header.seq) else {
            self.stats.dropped_responses += 1;
            return;
        };
        if header.attempt > call.attempt() {
            // An answer to what was never sent.
            self.stats.dropped_responses += 1;
            return;
        }
        let is_latest = header.attempt == call.attempt();
        if header.status != Status::InProgress || kept(Rule::InProgressIsLife) {
            call.note_heard();
        }
        if is_latest
            && call.state == CallState::Sent
            && call.endpoint == id
            && header.status != Status::InProgress
        {
            let endpoint = &mut self.endpoints[usize::from(id.0)];
            if endpoint.samples(header.seq) {
                endpoint.add_rtt(call.method, now.micros_since(call.asked_at()));
            }
        }
        // A committed result counts from any attempt; a tentative one only from the latest, since a
        // later attempt may have taken effect in the meantime. A read has no effect to miss.
        let counts = header.committed
            || call.kind != Kind::Write
            || is_latest
            || !kept(Rule::TentativeFromLatestOnly);
        match header.status {
            Status::Success if counts => {
                self.note_unacked(now, id);
                self.complete(header.seq, CallOutcome::Success, payload);
            }
            Status::BusinessError if counts => {
                self.note_unacked(now, id);
                self.complete(header.seq, CallOutcome::BusinessError, payload);
            }
            Status::Success | Status::BusinessError => self.stats.dropped_responses += 1,
            Status::Aborted(reason) => {
                let outcome = CallOutcome::not_executed(NotExecuted::Aborted(reason));
                self.note_unacked(now, id);
                self.complete(header.seq, outcome, &[]);
            }
            Status::InProgress => self.handle_in_progress(now, id, header, is_latest),
            Status::Refused(reason) => {
                let message = String::from_utf8_lossy(payload).into_owned();
                self.handle_refused(now, id, header, reason, message, is_latest);
            }
            Status::Never(refusal) => self.handle_never(now, header, refusal),
            Status::Unknown => {
                if is_latest {
                    let until = self.soon(now, header);
                    self.back_off(header.seq, until);
                }
            }
        }
    }

    /// What nearly every response is: the value of a call that was sent once, for its waiting caller.
    /// It does what [`handle_response`](Core::handle_response) would, and looks for the call once. Says
    /// whether it was that.
    #[inline]
    fn handle_usual(
        &mut self,
        now: Time,
        id: EndpointId,
        header: &ResponseHeader,
        payload: &[u8],
    ) -> bool {
        let is_first = header.attempt == Attempt::FIRST;
        if header.status != Status::Success || !is_first || self.journal.is_some() {
            return false;
        }
        let Some(call) = self.ring.get_mut(header.seq) else { return false };
        if !call.is_usual_at(id) {
            return false;
        }
        let endpoint = &mut self.endpoints[usize::from(id.0)];
        if endpoint.samples(header.seq) {
            endpoint.add_rtt(call.method, now.micros_since(call.sent_at));
        }
        endpoint.in_flight -= 1;
        self.wakers.extend(call.hand_over(CallOutcome::Success, payload));
        self.note_unacked(now, id);
        self.note_over(header.seq);
        true
    }

    /// The call is running: no time-out, and no sign of trouble. It is asked for again, at growing
    /// intervals, only in case the response gets lost.
    fn handle_in_progress(
        &mut self,
        now: Time,
        id: EndpointId,
        header: &ResponseHeader,
        is_latest: bool,
    ) {
        self.stats.in_progress += 1;
        if !is_latest || !kept(Rule::InProgressIsLife) {
            return;
        }
        let attempts = self.ring.get(header.seq).map_or(0, |call| call.attempts);
        let least = self.config.min_timeout * 2;
        let patience = backoff(least, self.config.max_backoff, attempts);
        let until = now + self.jittered(patience);
        let Some(call) = self.ring.pending_mut(header.seq) else { return };
        if call.state == CallState::Sent && call.endpoint == id {
            call.note_in_progress(until);
            self.note_call_at(until);
        }
    }

    /// A refusal speaks only for its attempt.
    fn handle_refused(
        &mut self,
        now: Time,
        id: EndpointId,
        header: &ResponseHeader,
        reason: RefusalReason,
        message: String,
        is_latest: bool,
    ) {
        self.stats.refused += 1;
        let seq = header.seq;
        let Some(call) = self.ring.pending_mut(seq) else { return };
        // Each attempt counts once, however often its refusal comes.
        let rare = call.rare_mut();
        if header.attempt > rare.last_refused {
            rare.refused += 1;
            rare.last_refused = header.attempt;
        }
        rare.refusal = Some((reason, message.clone()));
        if !is_latest {
            return;
        }
        let may_try = call.attempts < call.options().max_attempts && now < call.deadline;
        let (kind, was_never_run) = (call.kind, call.was_never_run());
        if (reason.is_passing() && may_try) || call.rare().settle {
            let until = self.soon(now, header);
            if reason == RefusalReason::ShuttingDown {
                self.endpoint_mut(id).draining = true;
                return self.resend(now, seq, Some(id));
            }
            return self.back_off(seq, until);
        }
        if was_never_run || kind != Kind::Write {
            let outcome = CallOutcome::not_executed(NotExecuted::Refused { reason, message });
            return self.complete(seq, outcome, &[]);
        }
        // An earlier attempt may still have run, or be running: find out.
        let Some(call) = self.ring.pending_mut(seq) else { return };
        call.rare_mut().settle = true;
        let until = self.soon(now, header);
        self.back_off(seq, until);
    }

    /// The id is never executed from now on; whether it was, only an earlier answer could tell.
    fn handle_never(&mut self, now: Time, header: &ResponseHeader, refusal: Refusal) {
        let outcome = match refusal {
            Refusal::IdReused => CallOutcome::not_executed(NotExecuted::IdReused),
            Refusal::Stale => CallOutcome::unknown(Unknown::Stale),
            Refusal::Fenced | Refusal::SessionClosed => return self.lose_session(now),
        };
        self.complete(header.seq, outcome, &[]);
    }

    /// A short, growing pause before a call is tried again.
    fn soon(&mut self, now: Time, header: &ResponseHeader) -> Time {
        let attempts = self.ring.get(header.seq).map_or(1, |call| call.attempts);
        let pause = backoff(self.config.min_backoff, self.config.max_backoff, attempts);
        now + self.jittered(pause)
    }

    /// The response as it is, for the call that it names.
    #[inline]
    fn addressed(&self, header: &ResponseHeader) -> ResponseHeader {
        if kept(Rule::MatchBySeq) && kept(Rule::DropDuplicateResponses) && kept(Rule::KeepIdOnRetry)
        {
            *header
        } else {
            self.mistake_call(*header)
        }
    }

    /// Gives a response to the oldest call, as a client without numbers would.
    fn mistake_call(&self, header: ResponseHeader) -> ResponseHeader {
        if !kept(Rule::KeepIdOnRetry) {
            let seq = super::send::call_of_id(header.seq);
            let attempt = self.ring.get(seq).map_or(header.attempt, super::call::Call::attempt);
            return ResponseHeader { seq, attempt, ..header };
        }
        let is_pending = self.ring.get(header.seq).is_some_and(super::call::Call::is_pending);
        let by_order = !kept(Rule::MatchBySeq);
        let duplicate = !is_pending && !kept(Rule::DropDuplicateResponses);
        let oldest = self.ring.iter().find(|(_, call)| call.is_pending());
        match oldest {
            Some((seq, call)) if by_order || duplicate => {
                ResponseHeader { seq, attempt: call.attempt(), ..header }
            }
            _ => header,
        }
    }

    fn note_unacked(&mut self, now: Time, id: EndpointId) {
        let endpoint = self.endpoint_mut(id);
        endpoint.unacked = endpoint.unacked.saturating_add(1);
        if endpoint.unacked == 1 {
            endpoint.unacked_since = now;
            self.note_care(id);
        }
    }
}
