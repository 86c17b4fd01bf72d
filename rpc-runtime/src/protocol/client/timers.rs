//! What time brings: time-outs, deadlines, hedges, probes, keepalives, lone acks.

use super::call::{CallState, Caller};
use super::connect::backoff;
use super::endpoint::{EndpointId, Link, Suspicion};
use super::{CallOutcome, Core};
use crate::error::{NotExecuted, Unknown};
use crate::id::Seq;
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::time::Time;
use crate::wire::request::ClientFrame;

impl Core {
    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.handle_time(now);
        self.connect_due(now);
        for index in 0..self.endpoints.len() {
            self.look_after(now, EndpointId(index as u16));
        }
        if now >= self.next_call_at {
            self.look_at_calls(now);
        }
        self.next_at = self.earliest();
    }

    /// As [`handle_timeout`](Core::handle_timeout), before it is time: the times of calls that have
    /// ended since are forgotten.
    pub(crate) fn handle_early_timeout(&mut self, now: Time) {
        self.next_call_at = Time::ZERO;
        self.handle_timeout(now);
    }

    /// When [`handle_timeout`](Core::handle_timeout) wants to be called. It may be called earlier.
    #[inline]
    pub(crate) fn poll_timeout(&self) -> Time {
        debug_assert!(self.next_at <= self.earliest(), "a timer was set and not noted");
        self.next_at
    }

    fn earliest(&self) -> Time {
        let endpoints =
            (0..self.endpoints.len()).map(|index| self.care_at(EndpointId(index as u16)));
        endpoints.fold(self.next_call_at, Time::min)
    }

    /// An endpoint may need attention earlier than was known.
    pub(super) fn note_care(&mut self, id: EndpointId) {
        let at = self.care_at(id);
        self.note_at(at);
    }

    /// Acks that found no message to travel with, keepalives, probes.
    fn look_after(&mut self, now: Time, id: EndpointId) {
        if self.endpoint(id).link != Link::Up {
            return;
        }
        if self.ack_at(id) <= now {
            self.send_ack(id);
        }
        if now >= self.endpoint(id).last_byte + self.config.silence_limit
            && self.endpoint(id).suspicion.is_some()
        {
            return self.drop_link(now, id, "it is silent");
        }
        if let Some(suspicion) = self.endpoint(id).suspicion {
            if suspicion.next_probe <= now {
                let interval = (suspicion.interval * 2).min(self.config.max_backoff);
                let next_probe = now + self.jittered(interval);
                let since = suspicion.since;
                self.endpoint_mut(id).suspicion = Some(Suspicion { since, next_probe, interval });
                self.probe(id);
            }
        } else if self.keepalive_at(id) <= now {
            let overdue = self.endpoint(id).last_byte + self.config.keepalive * 2 <= now;
            self.endpoint_mut(id).last_sent = now;
            self.put(id, ClientFrame::Ping);
            if overdue {
                self.suspect(now, id);
            }
        }
    }

    fn care_at(&self, id: EndpointId) -> Time {
        let endpoint = self.endpoint(id);
        if endpoint.link != Link::Up {
            return self.connect_at(id);
        }
        let probe = match endpoint.suspicion {
            Some(suspicion) => {
                suspicion.next_probe.min(endpoint.last_byte + self.config.silence_limit)
            }
            None => self.keepalive_at(id),
        };
        self.ack_at(id).min(probe)
    }

    fn ack_at(&self, id: EndpointId) -> Time {
        self.endpoint(id).unacked_since + self.config.ack_delay
    }

    fn keepalive_at(&self, id: EndpointId) -> Time {
        let endpoint = self.endpoint(id);
        endpoint.last_sent.max(endpoint.last_byte) + self.config.keepalive
    }

    fn look_at_calls(&mut self, now: Time) {
        self.next_call_at = Time::NEVER;
        let pending: Vec<Seq> =
            self.ring.iter().filter(|(_, call)| call.is_pending()).map(|(seq, _)| seq).collect();
        for seq in pending {
            self.look_at_call(now, seq);
            let Some(call) = self.ring.get(seq).filter(|call| call.is_pending()) else { continue };
            let mut next = call.next_at.min(call.rare().hedge_at);
            if call.caller == Caller::GaveUp && !call.rare().settle {
                next = next.min(call.deadline);
            } else if call.caller == Caller::Waiting {
                let grace = if now < call.deadline {
                    call.deadline
                } else {
                    call.deadline + self.config.settle_grace
                };
                next = next.min(grace);
            }
            self.note_call_at(next);
        }
        let mut waiting = std::mem::take(&mut self.window_waiters);
        for (deadline, waker) in waiting.drain(..) {
            if deadline <= now {
                self.wakers.push(waker);
            } else {
                self.note_call_at(deadline);
                self.window_waiters.push((deadline, waker));
            }
        }
    }

    fn look_at_call(&mut self, now: Time, seq: Seq) {
        let Some(call) = self.ring.pending_mut(seq) else { return };
        if now >= call.deadline && call.caller == Caller::Waiting {
            if !self.pass_deadline(now, seq) {
                return;
            }
        } else if now >= call.deadline && call.caller == Caller::GaveUp && !call.rare().settle {
            // Of an earlier life of this client, and nobody has asked: find out, or end it.
            call.rare_mut().settle = true;
            if call.was_never_run() {
                let outcome = CallOutcome::not_executed(NotExecuted::Deadline);
                return self.complete(seq, outcome, &[]);
            }
        } else if now >= call.rare().hedge_at {
            self.hedge(now, seq);
        }
        let Some(call) = self.ring.pending_mut(seq) else { return };
        if now < call.next_at {
            return;
        }
        match call.state {
            CallState::Sent => self.time_out(now, seq),
            CallState::Backoff => {
                let endpoint = call.endpoint;
                self.resend(now, seq, Some(endpoint));
            }
            CallState::Unwritten
            | CallState::Queued
            | CallState::Ending
            | CallState::Vacant
            | CallState::Complete => {}
        }
    }

    /// The deadline of a call that is waited for has passed. Returns whether it is still pending.
    fn pass_deadline(&mut self, now: Time, seq: Seq) -> bool {
        let grace = self.config.settle_grace;
        let Some(call) = self.ring.pending_mut(seq) else { return false };
        // Too late for a second server; left as it is, the timer would be due for ever.
        call.rare_mut().hedge_at = Time::NEVER;
        let (endpoint, sent) = (call.endpoint, call.state == CallState::Sent);
        if call.was_never_run() || call.kind != Kind::Write {
            let refusal = call.rare_mut().refusal.take();
            let reason = match (refusal, call.attempts) {
                (Some((reason, message)), _) => NotExecuted::Refused { reason, message },
                // A server that could be sent to would have been.
                (None, 0) if call.state != CallState::Unwritten => {
                    NotExecuted::NotConnected(self.troubles())
                }
                (None, _) => NotExecuted::Deadline,
            };
            self.complete(seq, CallOutcome::not_executed(reason), &[]);
            if sent && self.endpoint(endpoint).link == Link::Up {
                self.put(endpoint, ClientFrame::Cancel(seq));
            }
            return false;
        }
        if now >= call.deadline + grace {
            // The caller goes on without knowing; the call is settled in the background.
            call.caller = Caller::GaveUp;
            call.outcome = Some(CallOutcome::unknown(Unknown::NoAnswer));
            let waker = call.waker.take();
            self.wakers.extend(waker);
            self.stats.unknown += 1;
            return true;
        }
        if !call.rare().settle && kept(Rule::AbortAtDeadline) {
            call.rare_mut().settle = true;
            // Whoever has not answered by now is not asked first: the grace may not last for two.
            let avoid = Some(endpoint).filter(|_| !call.rare().in_progress);
            self.resend_here_or(now, seq, endpoint, avoid);
        }
        true
    }

    /// No answer came in time: the call is sent again. To the same server once, in case only the
    /// message was lost; then to another. What is only to be settled goes to another at once.
    fn time_out(&mut self, now: Time, seq: Seq) {
        let Some(call) = self.ring.pending_mut(seq) else { return };
        let (id, sent_at) = (call.endpoint, call.sent_at);
        if std::mem::take(&mut call.rare_mut().in_progress) {
            return self.resend_here_or(now, seq, id, None);
        }
        let rare = call.rare_mut();
        rare.silent = rare.silent.saturating_add(1);
        let move_on = (rare.silent >= 2 || rare.settle) && kept(Rule::SuspectEndpoint);
        let silent = rare.silent;
        let in_background = call.caller != Caller::Waiting;
        self.stats.timeouts += 1;
        self.count_silence(now, id, sent_at);
        if in_background && silent > 4 {
            // Nobody waits: settle it at leisure.
            let pause = backoff(self.config.min_timeout, self.config.max_backoff, silent);
            let until = now + self.jittered(pause);
            self.back_off(seq, until);
            if let Some(call) = self.ring.pending_mut(seq) {
                call.rare_mut().silent = 3;
            }
            return;
        }
        let Some(call) = self.ring.get(seq).filter(|call| call.is_pending()) else { return };
        // Becoming suspect has moved the endpoint's calls already.
        if call.state == CallState::Sent && call.sent_at == sent_at {
            let avoid = Some(id).filter(|_| move_on);
            self.resend_here_or(now, seq, id, avoid);
        }
    }

    fn resend_here_or(&mut self, now: Time, seq: Seq, id: EndpointId, avoid: Option<EndpointId>) {
        if avoid.is_none() && self.endpoint(id).is_usable() {
            self.resend_to(now, seq, id);
        } else {
            self.resend(now, seq, avoid);
        }
    }

    /// Counts a time-out with no byte from the server. The calls that went out together count
    /// once; the second time makes the server suspect.
    fn count_silence(&mut self, now: Time, id: EndpointId, sent_at: Time) {
        let endpoint = self.endpoint_mut(id);
        let heard_since = endpoint.last_byte > sent_at;
        let counted = sent_at < endpoint.last_timeout;
        if heard_since || counted || endpoint.link != Link::Up {
            return;
        }
        endpoint.silent_timeouts += 1;
        endpoint.last_timeout = now;
        if endpoint.silent_timeouts >= 2 && kept(Rule::SuspectEndpoint) {
            self.suspect(now, id);
        }
    }

    fn suspect(&mut self, now: Time, id: EndpointId) {
        if self.endpoint(id).suspicion.is_some() {
            return;
        }
        self.stats.suspicions += 1;
        let interval = self.config.probe_interval;
        let suspicion = Suspicion { since: now, next_probe: now + interval, interval };
        self.endpoint_mut(id).suspicion = Some(suspicion);
        self.note_care(id);
        self.probe(id);
        self.move_calls_away(now, id);
    }

    fn probe(&mut self, id: EndpointId) {
        if kept(Rule::ProbeSuspects) {
            self.put(id, ClientFrame::Ping);
        }
    }
}
