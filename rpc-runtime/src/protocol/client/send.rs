//! Where a call goes, and with which header.

use std::time::Duration;

use super::call::{CallState, Hedge};
use super::endpoint::EndpointId;
use super::{Core, Event};
use crate::error::NotExecuted;
use crate::id::{Attempt, Seq};
use crate::protocol::client::CallOutcome;
use crate::rule::{Rule, kept};
use crate::time::Time;
use crate::wire::ack::Ack;
use crate::wire::request::{ClientFrame, RequestHeader};

/// What a request's header takes at most without a bitmap: kind, sequence number, attempt, age,
/// method, ack, deadline, trace. A bitmap is left out where the arguments leave no room for it.
pub(super) const MAX_REQUEST_HEADER: usize = 1 + 10 + 5 + 10 + 3 + 10 + 10 + 25;

/// From how many complete calls above the watermark on a bitmap travels with a request: fewer wait
/// for the watermark, or for a lone ack.
pub(super) const BITMAP_WORTH_SENDING: u64 = 256;

impl Core {
    /// Sends a call again, away from `avoid` if another endpoint is usable. The retry budget may
    /// put it off.
    pub(super) fn resend(&mut self, now: Time, seq: Seq, avoid: Option<EndpointId>) {
        let endpoint = self.choose(avoid);
        self.resend_through(now, seq, endpoint);
    }

    /// Sends a call again to the endpoint that has it.
    pub(super) fn resend_to(&mut self, now: Time, seq: Seq, endpoint: EndpointId) {
        self.resend_through(now, seq, Some(endpoint));
    }

    fn resend_through(&mut self, now: Time, seq: Seq, endpoint: Option<EndpointId>) {
        let Some(call) = self.ring.pending_mut(seq) else { return };
        if call.attempts >= call.options().max_attempts && !call.rare().settle {
            // Its deadline will settle it.
            let deadline = call.deadline;
            return self.back_off(seq, deadline);
        }
        if endpoint.is_some()
            && call.attempts > 0
            && !self.budget.withdraw(now)
            && kept(Rule::RetryBudget)
        {
            let until = now + self.budget.wait();
            return self.back_off(seq, until);
        }
        match endpoint {
            Some(endpoint) => self.send_to(now, seq, endpoint),
            None => self.queue(seq),
        }
    }

    /// Puts a call aside until `until`.
    pub(super) fn back_off(&mut self, seq: Seq, until: Time) {
        self.unsend(seq, CallState::Backoff);
        if let Some(call) = self.ring.pending_mut(seq) {
            call.next_at = until;
            self.note_call_at(until);
        }
    }

    /// Puts a call aside until an endpoint is usable.
    pub(super) fn queue(&mut self, seq: Seq) {
        self.unsend(seq, CallState::Queued);
        if let Some(call) = self.ring.pending_mut(seq) {
            call.next_at = Time::NEVER;
        }
    }

    /// Sends what waits for a usable endpoint.
    pub(super) fn send_queued(&mut self, now: Time) {
        if self.unsent == 0 {
            return;
        }
        let queued: Vec<Seq> = self
            .ring
            .iter()
            .filter(|(_, call)| call.state == CallState::Queued)
            .map(|(seq, _)| seq)
            .collect();
        for seq in queued {
            self.resend(now, seq, None);
        }
    }

    /// A second send ahead of the time-out, if there is a second server for it.
    pub(super) fn hedge(&mut self, now: Time, seq: Seq) {
        let Some(call) = self.ring.pending_mut(seq) else { return };
        call.rare_mut().hedge_at = Time::NEVER;
        let first = call.endpoint;
        let Some(second) = self.choose(Some(first)).filter(|second| *second != first) else {
            return;
        };
        if self.budget.withdraw(now) {
            self.stats.hedges += 1;
            self.send_to(now, seq, second);
        }
    }

    /// Tells an endpoint all that is acknowledged.
    pub(super) fn send_ack(&mut self, endpoint: EndpointId) {
        let (watermark, bitmap) = (self.ring.watermark(), self.ring.bitmap());
        self.put(endpoint, ClientFrame::Ack(Ack::new(watermark, &bitmap)));
        self.endpoint_mut(endpoint).note_acked(watermark);
    }

    /// The usable endpoint with the fewest calls in flight; `avoid` only if there is no other.
    #[inline]
    pub(super) fn choose(&mut self, avoid: Option<EndpointId>) -> Option<EndpointId> {
        if let [only] = &self.endpoints[..] {
            return only.is_usable().then_some(EndpointId(0));
        }
        self.choose_of_many(avoid)
    }

    fn choose_of_many(&mut self, avoid: Option<EndpointId>) -> Option<EndpointId> {
        let (before, from_turn) = self.endpoints.split_at(self.turn);
        let turns = from_turn.iter().zip(self.turn..).chain(before.iter().zip(0..));
        let mut best: Option<(u32, EndpointId)> = None;
        for (endpoint, index) in turns {
            let id = EndpointId(index as u16);
            if endpoint.is_usable()
                && avoid != Some(id)
                && best.is_none_or(|(least, _)| endpoint.in_flight < least)
            {
                best = Some((endpoint.in_flight, id));
            }
        }
        self.turn = if self.turn + 1 < self.endpoints.len() { self.turn + 1 } else { 0 };
        let fallback = avoid.filter(|avoid| self.endpoint(*avoid).is_usable());
        best.map(|(_, id)| id).or(fallback)
    }

    pub(super) fn send_to(&mut self, now: Time, seq: Seq, endpoint: EndpointId) {
        if self.journal.is_some() && self.must_journal_attempt(seq) {
            return;
        }
        let timeout = self.timeout_of(seq, endpoint);
        let bitmap = self.bitmap_for(endpoint);
        let watermark = acknowledged(self.ring.watermark(), seq);
        let Some(call) = self.ring.pending_mut(seq) else { return };
        let end = &mut self.endpoints[usize::from(endpoint.0)];
        let limit = end.max_frame.saturating_sub(MAX_REQUEST_HEADER);
        let size = call.buffer.len();
        if size > limit {
            let outcome = CallOutcome::not_executed(NotExecuted::TooLarge { size, limit });
            return self.complete(seq, outcome, &[]);
        }
        let bitmap = if bitmap.len() < limit - size { &bitmap[..] } else { &[] };
        let needs_ack = end.acked != Some(watermark) || call.attempts > 0 || !bitmap.is_empty();
        let needs_ack = needs_ack && kept(Rule::AcksHitchhike);
        let (previous, was_sent) = (call.endpoint, call.state == CallState::Sent);
        let failover = previous != endpoint;
        if call.attempts == 0 || kept(Rule::CountAttempts) {
            call.attempts = call.attempts.saturating_add(1);
        }
        let (id, attempt) = match kept(Rule::KeepIdOnRetry) {
            true => (seq, call.attempt()),
            false => id_of_attempt(seq, call.attempt()),
        };
        let header = RequestHeader {
            seq: id,
            attempt,
            age: now.since(call.made_at),
            method: call.method,
            ack: needs_ack.then(|| Ack::new(watermark, bitmap)),
            deadline: self.timeouts.deadline_to_send(call.deadline.micros_since(now)),
            trace: call.options().trace,
            settle: call.rare().settle,
        };
        let was_empty = end.out.is_empty();
        header.put(&call.buffer, &mut end.out);
        end.last_sent = now;
        if needs_ack {
            end.note_acked(watermark);
        }
        end.in_flight += 1;
        let next_at = now.after(timeout);
        call.note_sent(now, endpoint, self.client, next_at);
        let first = call.attempts == 1;
        let hedge = if first { call.options().hedge } else { Hedge::Never };
        if was_sent {
            self.endpoints[usize::from(previous.0)].in_flight -= 1;
        } else {
            self.unsent -= 1;
        }
        if !first {
            self.stats.retries += 1;
            self.stats.failovers += u64::from(failover);
        }
        self.note_call_at(next_at);
        if hedge != Hedge::Never {
            self.plan_hedge(now, seq, endpoint, hedge);
        }
        if was_empty {
            self.events.push_back(Event::Transmit(endpoint));
        }
    }

    /// What a request to this endpoint acknowledges above the watermark; empty if it is not worth
    /// its bytes.
    #[inline]
    fn bitmap_for(&self, endpoint: EndpointId) -> Vec<u8> {
        if self.ring.complete_above() >= BITMAP_WORTH_SENDING
            && u64::from(self.endpoint(endpoint).unacked) >= BITMAP_WORTH_SENDING
        {
            self.ring.bitmap()
        } else {
            Vec::new()
        }
    }

    fn plan_hedge(&mut self, now: Time, seq: Seq, endpoint: EndpointId, hedge: Hedge) {
        let method = self.ring.get(seq).expect("just sent").method;
        let after = match hedge {
            Hedge::Never => return,
            Hedge::After(after) => after,
            Hedge::AfterP99 => {
                match self.endpoint(endpoint).rtt(method).and_then(super::rtt::Rtt::p99) {
                    Some(p99) => p99,
                    None => return,
                }
            }
        };
        let at = now + after;
        self.ring.get_mut(seq).expect("just sent").rare_mut().hedge_at = at;
        self.note_call_at(at);
    }

    /// How long to wait for the next answer to a call from an endpoint, in microseconds.
    #[inline]
    fn timeout_of(&mut self, seq: Seq, endpoint: EndpointId) -> u64 {
        let Some(call) = self.ring.get(seq) else { return 0 };
        let first = self.timeouts.first(self.endpoint(endpoint).rtt(call.method));
        if call.attempts == 0 {
            return first;
        }
        let doubled = Duration::from_micros(first) * (1 << call.rare().silent.min(8));
        let patient = self.jittered(doubled.min(self.config.max_timeout));
        u64::try_from(patient.as_micros()).unwrap_or(u64::MAX)
    }

    /// Takes a call off the endpoint that it was sent to.
    pub(super) fn unsend(&mut self, seq: Seq, state: CallState) {
        let Some(call) = self.ring.pending_mut(seq) else { return };
        let (was, endpoint) = (call.state, call.endpoint);
        call.state = state;
        if was == CallState::Sent {
            self.endpoints[usize::from(endpoint.0)].in_flight -= 1;
            self.unsent += 1;
        }
    }
}

/// What a request of this number acknowledges.
#[inline]
pub(super) fn acknowledged(watermark: Seq, seq: Seq) -> Seq {
    if kept(Rule::AckOnlyAnswered) { watermark } else { watermark.max(seq) }
}

/// How far the ids of a call's attempts are apart where each attempt has one of its own.
const ATTEMPT_STRIDE: u64 = 512;

/// The id that a retry draws, as if it were a call of its own: what must never be. See
/// [`Rule::KeepIdOnRetry`].
fn id_of_attempt(seq: Seq, attempt: Attempt) -> (Seq, Attempt) {
    let earlier = u64::from(attempt.0.saturating_sub(1));
    (Seq(seq.0 + ATTEMPT_STRIDE * earlier), Attempt::FIRST)
}

/// The call that an id was drawn for.
pub(super) fn call_of_id(id: Seq) -> Seq {
    Seq((id.0 - 1) % ATTEMPT_STRIDE + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_attempts_are_all_different_and_lead_back_to_their_call() {
        let ids = |seq: u64| {
            let of_attempt = |attempt| id_of_attempt(Seq(seq), Attempt(attempt));
            [1, 2, 3].map(of_attempt)
        };
        for (seq, expected) in [(1, [1, 513, 1025]), (512, [512, 1024, 1536])] {
            assert_eq!(ids(seq), expected.map(|id| (Seq(id), Attempt::FIRST)));
            assert_eq!(expected.map(|id| call_of_id(Seq(id))), [Seq(seq); 3]);
        }
    }
}
