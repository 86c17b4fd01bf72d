//! Clients: sending, taking answers, giving up; and the faults of servers and of time.

use super::plan::Bug;
use super::run::{Run, Step};
use super::state::{Answer, LeaseState, Never, Outcome, State, Told};
use super::turn::Turn;

impl Turn<'_> {
    pub(super) fn send(mut self, slot: usize) -> State {
        let (call, attempt) = (usize::from(self.call(slot)), self.attempt(slot));
        let plan = self.plan(slot);
        let is_early = attempt > 1 && self.run(slot - 1).can_answer();
        self.state.left.early -= u8::from(is_early);
        self.state.calls[call].sent = attempt;
        let aborting = plan.settle_from != 0 && attempt >= plan.settle_from;
        let watermark = self.watermark(plan.client);
        let incarnation = self.incarnation(plan.client);
        *self.run_mut(slot) = Run { watermark, incarnation, aborting, ..Run::default() };
        if attempt > 1 && !aborting && !self.has_bug(Bug::RetryBitIgnored) {
            self.run_mut(slot).step = Step::LookUp;
        } else {
            self.start(slot);
        }
        self.state
    }

    /// The first call of a client that it has not completed.
    fn watermark(&self, client: u8) -> u8 {
        let calls = self.model.config.calls.iter().zip(&self.state.calls);
        let own = calls.filter(|(plan, _)| plan.client == client);
        let open = own.clone().filter(|(_, call)| call.told.is_none()).map(|(plan, _)| plan.seq);
        open.min().unwrap_or_else(|| own.map(|(plan, _)| plan.seq + 1).max().unwrap_or(1))
    }

    /// A client that has sent a call again is in its second life, where clients crash.
    fn incarnation(&self, client: u8) -> u8 {
        let calls = self.model.config.calls.iter().zip(&self.state.calls);
        let again = calls.filter(|(plan, call)| plan.client == client && call.sent > 1).count();
        1 + u8::from(self.model.config.incarnations && again > 0)
    }

    pub(super) fn deliver(mut self, slot: usize) -> Option<State> {
        let answer = self.run_mut(slot).answer.take()?;
        let (number, attempt) = (usize::from(self.call(slot)), self.attempt(slot));
        let attempts = self.plan(slot).attempts;
        // What the client of an earlier life is answered reaches nobody.
        let is_mine = self.run(slot).incarnation == self.incarnation(self.plan(slot).client);
        let takes_old = self.has_bug(Bug::TentativeFromOldAttempt);
        let call = &mut self.state.calls[number];
        if call.told.is_some() || !is_mine {
            return Some(self.state);
        }
        let is_latest = attempt == call.sent;
        call.told = match answer {
            Answer::Committed(Outcome::Aborted) => Some(Told::NotExecuted),
            Answer::Committed(outcome) => Some(Told::Committed(outcome)),
            Answer::Tentative(outcome) if is_latest || takes_old => Some(Told::Tentative(outcome)),
            Answer::Tentative(_) => None,
            Answer::Refused => {
                call.refused |= 1 << attempt;
                let all_refused = call.refused.count_ones() == u32::from(call.sent);
                (all_refused && call.sent == attempts).then_some(Told::NotExecuted)
            }
            Answer::Never(Never::Stale) => Some(Told::Stale),
            Answer::Never(Never::Fenced) => Some(Told::Fenced),
            Answer::Never(Never::SessionClosed) => Some(Told::SessionLost),
        };
        Some(self.state)
    }

    /// Loses an answer, or a request on its way.
    pub(super) fn lose(mut self, slot: usize) -> State {
        self.state.left.lost -= 1;
        let run = self.run_mut(slot);
        if run.answer.take().is_none() {
            *run = run.over(Step::Crashed);
        }
        self.state
    }

    /// Stops the business, wherever it is, and ends the call by an aborted record.
    pub(super) fn stop(mut self, slot: usize) -> State {
        self.state.left.deadlines -= 1;
        self.run_mut(slot).aborting = true;
        self.start(slot);
        self.state
    }

    /// The store gets to a late write.
    pub(super) fn arrive(mut self, slot: usize) -> Option<State> {
        let write = self.run_mut(slot).late.take()?;
        self.apply(slot, &write);
        Some(self.state)
    }

    pub(super) fn crash(mut self, server: usize) -> State {
        self.state.left.crashes -= 1;
        for slot in 0..self.model.slots.runs.len() {
            let run = &mut self.state.runs[slot];
            if self.model.server(self.model.slots.runs[slot].1) == server && run.is_running() {
                *run = run.over(Step::Crashed);
            }
        }
        self.state.cleared[server] = 0;
        self.state
    }

    pub(super) fn lease_ends(mut self, client: u8) -> State {
        self.state.left.leases -= 1;
        self.state.leases[usize::from(client)] = LeaseState::Ended;
        for (plan, call) in self.model.config.calls.iter().zip(&mut self.state.calls) {
            if plan.client == client {
                call.told.get_or_insert(Told::SessionLost);
            }
        }
        self.state
    }

    pub(super) fn lease_over(mut self, client: u8) -> State {
        self.state.leases[usize::from(client)] = LeaseState::Over;
        self.state
    }
}
