//! How a call ends, and how its caller gets to know.

use std::task::{Poll, Waker};

use super::Core;
use super::call::{CallOutcome, CallState, Caller};
use super::endpoint::Link;
use crate::error::{NotExecuted, Unknown};
use crate::id::{CallId, ClientId, MethodId, Seq};
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::time::Time;
use crate::wire::request::ClientFrame;

/// How a call ended: what its caller gets.
#[derive(Clone, Debug)]
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
    pub(super) settled: Settled,
    pub(super) method: MethodId,
    /// A hash of its arguments.
    pub(super) arguments: u64,
}

impl Core {
    /// The encoded value of a call that has ended with one, and the client under whose number it was
    /// made; [`poll_call`](Core::poll_call) knows of everything else.
    #[inline]
    pub(crate) fn take_success(&mut self, seq: Seq) -> Option<(Vec<u8>, ClientId)> {
        let call = self.ring.get_mut(seq)?;
        let is_value = matches!(call.outcome, Some(CallOutcome::Success));
        if call.state != CallState::Complete || !is_value || self.journal.is_some() {
            return None;
        }
        call.outcome = None;
        let taken = (std::mem::take(&mut call.buffer), call.client);
        call.vacate();
        self.ring.trim();
        Some(taken)
    }

    /// How a call ended, once it has.
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
        if self.journal.is_some() {
            self.forget_unnamed(seq);
        }
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
        method: MethodId,
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
            let known = &self.kept_outcomes[position];
            if known.arguments != hash(arguments) || known.method != method {
                return ended(CallOutcome::not_executed(NotExecuted::IdReused));
            }
            let known = self.kept_outcomes.remove(position).expect("found just now");
            self.forget_unnamed(id.seq);
            return Err(known.settled);
        }
        if let Some((known_method, known_arguments, settled)) = self.journalled_end(id) {
            if known_arguments != hash(arguments) || known_method != method {
                return ended(CallOutcome::not_executed(NotExecuted::IdReused));
            }
            return Err(settled);
        }
        let stale = || ended(CallOutcome::unknown(Unknown::Stale));
        if id.client != self.client || self.session.is_none() {
            return stale();
        }
        let open = self.ring.get(id.seq).filter(|call| !call.is_over());
        let Some(call) = open.filter(|call| call.caller == Caller::GaveUp) else {
            return stale();
        };
        // Nothing else has been put in place of the arguments yet.
        if call.buffer != arguments || call.method != method {
            return ended(CallOutcome::not_executed(NotExecuted::IdReused));
        }
        match self.take_over(now, id.seq, deadline, waker) {
            Some(seq) => Ok(seq),
            None => stale(),
        }
    }

    /// Goes on with a call that nobody waits for, on behalf of somebody who does. `None` if somebody
    /// waits already, or the call is over.
    pub(super) fn take_over(
        &mut self,
        now: Time,
        seq: Seq,
        deadline: Time,
        waker: &Waker,
    ) -> Option<Seq> {
        let settle_grace = self.config.settle_grace;
        let call = self.ring.get_mut(seq).filter(|call| !call.is_over())?;
        if call.caller == Caller::Waiting {
            return None;
        }
        call.caller = Caller::Waiting;
        call.outcome = None;
        call.waker = Some(waker.clone());
        if call.state == CallState::Ending {
            return Some(seq);
        }
        let rare = call.rare_mut();
        (rare.settle, rare.silent) = (false, 0);
        call.deadline = deadline;
        // One that waits for a server, or the journal, goes out as soon as it can; no timer brings
        // that about.
        if !matches!(call.state, CallState::Queued | CallState::Unwritten) {
            call.next_at = call.next_at.min(now + settle_grace);
        }
        let at = call.next_at.min(deadline);
        self.note_call_at(at);
        Some(seq)
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
                self.forget_unnamed(seq);
            }
            CallState::Vacant | CallState::Complete => {}
            CallState::Ending => call.caller = Caller::Dropped,
            CallState::Unwritten | CallState::Queued | CallState::Backoff | CallState::Sent => {
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
        if self.journal.is_some() && self.must_journal_end(seq, &outcome, payload) {
            return;
        }
        self.finish(seq, outcome, payload);
    }

    /// Ends a call whose place among the pending ones is given up, and whose end is written down where
    /// it must be.
    #[inline]
    pub(super) fn finish(&mut self, seq: Seq, outcome: CallOutcome, payload: &[u8]) {
        let mut is_named = false;
        if self.journal.is_some() {
            is_named = self.is_named(seq);
            self.note_ended(seq, &outcome, payload);
        }
        let Some(call) = self.ring.get_mut(seq).filter(|call| !call.is_over()) else { return };
        // Whoever gave up and has not looked yet is told the outcome itself.
        let is_untold = call.caller == Caller::GaveUp && call.outcome.is_some();
        match if is_untold { Caller::Waiting } else { call.caller } {
            Caller::Waiting => self.wakers.extend(call.hand_over(outcome, payload)),
            Caller::GaveUp if !is_named => {
                let (method, arguments) = (call.method, hash(&call.buffer));
                let (attempts, payload) = (call.attempts, payload.to_vec());
                call.vacate();
                let id = CallId { client: self.client, seq };
                let settled = Settled { id, attempts, outcome, payload };
                self.keep_outcome(KeptOutcome { settled, method, arguments });
            }
            // Its name leads to it.
            Caller::GaveUp => call.vacate(),
            Caller::Dropped => {
                call.vacate();
                self.forget_unnamed(seq);
            }
        }
        self.note_over(seq);
    }

    /// A call has become complete or vacant: there may be room for others.
    #[inline]
    pub(super) fn note_over(&mut self, seq: Seq) {
        if self.ring.note_complete(seq) {
            self.ring.trim();
            if !self.window_waiters.is_empty() {
                self.wakers.extend(self.window_waiters.drain(..).map(|(_, waker)| waker));
            }
        }
    }

    /// Keeps how a call ended for who may ask for it, as long as there is room.
    pub(super) fn keep_outcome(&mut self, outcome: KeptOutcome) {
        self.kept_outcomes.push_back(outcome);
        if self.kept_outcomes.len() > self.config.max_kept_outcomes
            && let Some(oldest) = self.kept_outcomes.pop_front()
        {
            self.forget_unnamed(oldest.settled.id.seq);
        }
    }

    /// Ends every call at once, for its caller alone: nothing more is written down or sent. The next
    /// life of a client with a journal goes on with what is open, so nobody may be told that it
    /// was not executed.
    pub(super) fn abandon_all(&mut self, unknown: &Unknown, not_executed: &NotExecuted) {
        let open: Vec<Seq> =
            self.ring.iter().filter(|(_, call)| !call.is_over()).map(|(seq, _)| seq).collect();
        for seq in open {
            let goes_on = self.journal.is_some();
            let call = self.ring.get_mut(seq).expect("listed just now");
            let was_never_run = call.was_never_run() && !(goes_on && call.kind == Kind::Write);
            let is_waited_for = call.caller == Caller::Waiting || call.outcome.is_some();
            let was_sent = (call.state == CallState::Sent).then_some(call.endpoint);
            if is_waited_for {
                call.state = CallState::Complete;
                call.buffer = Vec::new();
                call.outcome = Some(match was_never_run {
                    true => CallOutcome::not_executed(not_executed.clone()),
                    false => CallOutcome::unknown(unknown.clone()),
                });
                self.wakers.extend(call.waker.take());
            } else {
                call.vacate();
            }
            if let Some(endpoint) = was_sent {
                self.endpoint_mut(endpoint).in_flight -= 1;
            }
            if self.ring.note_complete(seq) {
                self.ring.trim();
            }
        }
        self.unsent = 0;
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

pub(super) fn hash(arguments: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(arguments)
}
