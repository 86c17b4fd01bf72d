//! How a call ends, and how its caller gets to know.

use std::task::{Poll, Waker};

use super::Core;
use super::call::{CallOutcome, CallState, Caller};
use super::endpoint::Link;
use crate::error::{NotExecuted, Unknown};
use crate::id::{CallId, Seq};
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::time::Time;
use crate::wire::request::ClientFrame;

/// How a call ended: what its caller gets.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) id: CallId,
    /// How often it was sent.
    pub(crate) attempts: u32,
    pub(crate) outcome: CallOutcome,
    /// The encoded value or error.
    pub(crate) payload: Vec<u8>,
}

/// How a call ended whose caller had given up.
#[derive(Debug)]
pub(super) struct KeptOutcome {
    settled: Settled,
    arguments: u64,
}

impl Core {
    /// How a call ended, once it has.
    #[inline]
    pub(crate) fn poll_call(&mut self, seq: Seq, waker: &Waker) -> Poll<Settled> {
        let call = self.ring.get_mut(seq).expect("a call's future holds its place");
        let Some(outcome) = call.outcome.take() else {
            if !call.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                call.waker = Some(waker.clone());
            }
            return Poll::Pending;
        };
        let client = if call.attempts > 0 { call.client } else { self.client };
        let (id, attempts) = (CallId { client, seq }, call.attempts);
        if call.state != CallState::Complete {
            // It gave up; the call itself stays pending until it is settled.
            return Poll::Ready(Settled { id, attempts, outcome, payload: Vec::new() });
        }
        let payload = std::mem::take(&mut call.buffer);
        call.vacate();
        self.ring.trim();
        Poll::Ready(Settled { id, attempts, outcome, payload })
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
        waker: &Waker,
    ) -> Result<Seq, Settled> {
        self.handle_time(now);
        let ended = |outcome| Err(Settled { id, attempts: 0, outcome, payload: Vec::new() });
        if self.closed {
            return ended(CallOutcome::unknown(Unknown::ClientClosed));
        }
        if let Some(position) = self.kept_outcomes.iter().position(|kept| kept.settled.id == id) {
            if self.kept_outcomes[position].arguments != hash(arguments) {
                return ended(CallOutcome::not_executed(NotExecuted::IdReused));
            }
            let kept = self.kept_outcomes.remove(position).expect("found just now");
            return Err(kept.settled);
        }
        let stale = || ended(CallOutcome::unknown(Unknown::Stale));
        if id.client != self.client || self.session.is_none() {
            return stale();
        }
        let settle_grace = self.config.settle_grace;
        let Some(call) = self.ring.pending_mut(id.seq) else { return stale() };
        if call.caller != Caller::GaveUp {
            return stale();
        }
        if call.buffer != arguments {
            return ended(CallOutcome::not_executed(NotExecuted::IdReused));
        }
        call.caller = Caller::Waiting;
        call.outcome = None;
        call.waker = Some(waker.clone());
        let rare = call.rare_mut();
        (rare.settle, rare.silent) = (false, 0);
        call.deadline = deadline;
        // One that waits for a server goes out as soon as there is one; no timer brings that about.
        if call.state != CallState::Queued {
            call.next_at = call.next_at.min(now + settle_grace);
        }
        let at = call.next_at.min(deadline);
        self.note_call_at(at);
        Ok(id.seq)
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
                } else if call.outcome.take().is_some() {
                    // It gave up and was dropped before it was told: nobody can ask again.
                    call.caller = Caller::Dropped;
                }
            }
        }
    }

    /// Nobody waits for a call any more: its outcome is settled in the background, since an id may
    /// be acknowledged only when nothing can happen under it any more.
    fn abandon(&mut self, seq: Seq) {
        let call = self.ring.get_mut(seq).expect("the caller has found it");
        call.caller = Caller::Dropped;
        let (endpoint, sent) = (call.endpoint, call.attempts > 0);
        let must_settle = call.kind == Kind::Write && !call.was_never_run();
        if must_settle && kept(Rule::SettleDropped) {
            call.rare_mut().settle = true;
        } else {
            let outcome = CallOutcome::not_executed(NotExecuted::ClientClosed);
            self.complete(seq, outcome, &[]);
        }
        if sent && self.endpoint(endpoint).link == Link::Up {
            self.put(endpoint, ClientFrame::Cancel(seq));
        }
    }

    /// Ends a call for its caller. `payload` is its value or error.
    pub(super) fn complete(&mut self, seq: Seq, outcome: CallOutcome, payload: &[u8]) {
        let Some(call) = self.ring.pending_mut(seq) else { return };
        if call.state == CallState::Sent {
            self.endpoints[usize::from(call.endpoint.0)].in_flight -= 1;
        } else {
            self.unsent -= 1;
        }
        // Whoever gave up and has not looked yet is told the outcome itself.
        let is_untold = call.caller == Caller::GaveUp && call.outcome.is_some();
        match if is_untold { Caller::Waiting } else { call.caller } {
            Caller::Waiting => {
                call.buffer.clear();
                call.buffer.extend_from_slice(payload);
                call.state = CallState::Complete;
                call.outcome = Some(outcome);
                self.wakers.extend(call.waker.take());
            }
            Caller::GaveUp => {
                let arguments = hash(&call.buffer);
                let (attempts, payload) = (call.attempts, payload.to_vec());
                call.vacate();
                let id = CallId { client: self.client, seq };
                let settled = Settled { id, attempts, outcome, payload };
                self.kept_outcomes.push_back(KeptOutcome { settled, arguments });
                if self.kept_outcomes.len() > self.config.max_kept_outcomes {
                    self.kept_outcomes.pop_front();
                }
            }
            Caller::Dropped => call.vacate(),
        }
        if self.ring.note_complete(seq) {
            self.ring.trim();
            if !self.window_waiters.is_empty() {
                self.wakers.extend(self.window_waiters.drain(..).map(|(_, waker)| waker));
            }
        }
    }

    /// Ends every pending call: what was never run as not executed, the rest as unknown.
    pub(super) fn fail_pending(&mut self, unknown: &Unknown, not_executed: &NotExecuted) {
        let pending: Vec<Seq> =
            self.ring.iter().filter(|(_, call)| call.is_pending()).map(|(seq, _)| seq).collect();
        for seq in pending {
            let call = self.ring.get(seq).expect("listed just now");
            let outcome = if call.was_never_run() {
                CallOutcome::not_executed(not_executed.clone())
            } else {
                CallOutcome::unknown(unknown.clone())
            };
            self.complete(seq, outcome, &[]);
        }
    }
}

fn hash(arguments: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(arguments)
}
