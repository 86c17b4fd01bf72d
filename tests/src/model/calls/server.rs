//! A server: its table, and the runs that fill it.

use super::super::plan::Bug;
use super::super::state::has;
use super::world::{
    Ack, CALLS, Committed, Message, Outcome, Running, Server, Slot, Step, Stray, World,
};
use super::{CallsAction, CallsConfig};

impl World {
    pub(super) fn server_actions(
        &self,
        model: &CallsConfig,
        server: u8,
        call: u8,
        actions: &mut Vec<CallsAction>,
    ) {
        let table = &self.servers[usize::from(server)];
        match table.slots[usize::from(call)] {
            Slot::Running(running) => {
                actions.push(CallsAction::Run(server, call));
                let commits = matches!(running.step, Step::Commit { .. } | Step::Record(_));
                let expendable = self.is_expendable(model, call, running.latest);
                if commits && self.left.unknown > 0 && expendable {
                    actions.push(CallsAction::RunUnknown(server, call, true));
                    actions.push(CallsAction::RunUnknown(server, call, false));
                }
                if self.left.deadlines > 0 && !matches!(running.step, Step::Record(_)) {
                    actions.push(CallsAction::Deadline(server, call));
                }
            }
            Slot::Done { .. } if self.left.forgets > 0 => {
                actions.push(CallsAction::Forget(server, call));
            }
            _ => {}
        }
        if let Some(stray) = table.strays[usize::from(call)] {
            actions.push(CallsAction::Stray(server, call, false));
            if stray.known {
                actions.push(CallsAction::Stray(server, call, true));
            }
        }
    }

    /// Whether an acknowledgement would be news to a server.
    pub(super) fn has_news(&self, server: u8) -> bool {
        let table = &self.servers[usize::from(server)];
        let complete = |call: usize| self.calls[call].told.is_some();
        (usize::from(table.base)..CALLS)
            .any(|call| complete(call) && !matches!(table.slots[call], Slot::Acked | Slot::Vacant))
    }

    pub(super) fn may_crash(&self, model: &CallsConfig, server: u8) -> bool {
        let table = &self.servers[usize::from(server)];
        let running = || {
            (0u8..).zip(&table.slots).filter_map(|(call, slot)| match slot {
                Slot::Running(running) => Some((call, running.latest)),
                _ => None,
            })
        };
        let remembers = table.slots.iter().any(|slot| *slot != Slot::Vacant);
        remembers && running().all(|(call, latest)| self.is_expendable(model, call, latest))
    }

    pub(super) fn crash(&mut self, server: u8) {
        self.left.crashes -= 1;
        for call in 0..CALLS as u8 {
            if let Slot::Running(running) = *self.slot(server, call) {
                self.leave_stray(server, call, &running);
            }
        }
        let table = &mut self.servers[usize::from(server)];
        let mut strays = table.strays;
        strays.iter_mut().flatten().for_each(|stray| stray.known = false);
        *table = Server { strays, ..Server::default() };
    }

    pub(super) fn forget(&mut self, server: u8, call: u8) {
        self.left.forgets -= 1;
        *self.slot(server, call) = Slot::Vacant;
    }

    pub(super) fn handle_ack(&mut self, server: u8, ack: Ack) {
        let table = &mut self.servers[usize::from(server)];
        table.base = table.base.max(ack.watermark);
        for (call, slot) in table.slots.iter_mut().enumerate() {
            if has(ack.bitmap, call as u8) {
                *slot = Slot::Acked;
            }
        }
    }

    pub(super) fn handle_request(&mut self, model: &CallsConfig, call: u8, attempt: u8) {
        let Some(Message::Request { server, settle, ack }) = self.message(call, attempt).take()
        else {
            return;
        };
        self.handle_ack(server, ack);
        let base = self.servers[usize::from(server)].base;
        let start = |step| {
            Slot::Running(Running { step, run_attempt: attempt, latest: attempt, watermark: base })
        };
        if call < base {
            *self.message(call, attempt) = Some(Message::Stale);
            return;
        }
        let ignores_retry = model.has_bug(Bug::TentativeForLaterAttempt);
        match *self.slot(server, call) {
            Slot::Acked => *self.message(call, attempt) = Some(Message::Stale),
            Slot::Running(running) => {
                let latest = running.latest.max(attempt);
                *self.slot(server, call) = Slot::Running(Running { latest, ..running });
                if settle {
                    self.abort(server, call);
                }
            }
            Slot::Done { committed: Some(outcome), .. } => {
                *self.message(call, attempt) = Some(Message::Committed(outcome));
            }
            Slot::Done { committed: None, attempt: owner } if attempt < owner => {}
            Slot::Done { committed: None, attempt: owner } if attempt > owner && !ignores_retry => {
                *self.slot(server, call) = start(Step::Record(Outcome::Error));
            }
            Slot::Done { committed: None, .. } => {
                *self.message(call, attempt) = Some(Message::Tentative);
            }
            Slot::Vacant if settle => {
                *self.slot(server, call) = start(Step::Record(Outcome::Aborted));
            }
            Slot::Vacant if attempt > 1 => {
                *self.slot(server, call) = start(Step::LookUp);
            }
            Slot::Vacant => *self.slot(server, call) = start(Step::Read),
        }
    }

    pub(super) fn refuse(&mut self, call: u8, attempt: u8) {
        self.left.refusals -= 1;
        *self.message(call, attempt) = Some(Message::Refused);
    }

    pub(super) fn cancel(&mut self, call: u8) {
        if let Some(server) = self.calls[usize::from(call)].cancel.take() {
            self.abort(server, call);
        }
    }

    /// Stops the business, and ends the call with an aborted record instead.
    pub(super) fn abort(&mut self, server: u8, call: u8) {
        let Slot::Running(running) = *self.slot(server, call) else { return };
        if matches!(running.step, Step::Record(_)) {
            return;
        }
        self.leave_stray(server, call, &running);
        let step = Step::Record(Outcome::Aborted);
        *self.slot(server, call) = Slot::Running(Running { step, ..running });
    }

    /// A commit that was on its way when its run was stopped.
    fn leave_stray(&mut self, server: u8, call: u8, running: &Running) {
        if matches!(running.step, Step::Commit { .. } | Step::Record(_)) {
            let stray = Stray { step: running.step, watermark: running.watermark, known: true };
            self.servers[usize::from(server)].strays[usize::from(call)] = Some(stray);
        }
    }

    pub(super) fn run(&mut self, model: &CallsConfig, server: u8, call: u8) {
        let Slot::Running(running) = *self.slot(server, call) else { return };
        let go = |step| Slot::Running(Running { step, ..running });
        let needs_funds = model.needs_funds[usize::from(call)];
        let is_retry = running.run_attempt > 1;
        match running.step {
            Step::LookUp => match self.store.look_up(call, running.watermark) {
                Some(known) => self.ended(server, call, known),
                None => *self.slot(server, call) = go(Step::Read),
            },
            Step::Read => {
                let funds = self.store.funds;
                let writes = funds || !needs_funds;
                let records = is_retry && !model.has_bug(Bug::ErrorOfRetryNotRecorded);
                let joined = running.latest > running.run_attempt
                    && !model.has_bug(Bug::TentativeForJoinedAttempt);
                if writes || records {
                    *self.slot(server, call) = go(Step::Commit { funds });
                } else if joined {
                    *self.slot(server, call) = go(Step::Record(Outcome::Error));
                } else {
                    self.finish(server, call, None);
                }
            }
            step @ (Step::Commit { .. } | Step::Record(_)) => {
                let committed = self.store.commit(needs_funds, call, running.watermark, step);
                match committed {
                    Committed::Conflict => *self.slot(server, call) = go(Step::Read),
                    known => self.ended(server, call, known),
                }
            }
        }
    }

    /// The commit happens or not; the server cannot say, and forgets the run.
    pub(super) fn run_unknown(&mut self, model: &CallsConfig, server: u8, call: u8, done: bool) {
        self.left.unknown -= 1;
        let Slot::Running(running) = *self.slot(server, call) else { return };
        if done {
            // A conflict is no success; what the store says is lost either way.
            let needs_funds = model.needs_funds[usize::from(call)];
            let _ = self.store.commit(needs_funds, call, running.watermark, running.step);
        }
        *self.slot(server, call) = Slot::Vacant;
        *self.message(call, running.latest) = Some(Message::Unknown);
    }

    /// The commit of a stopped run reaches the store. What is recorded holds whoever has found it.
    pub(super) fn stray(&mut self, model: &CallsConfig, server: u8, call: u8, heard: bool) {
        let place = &mut self.servers[usize::from(server)].strays[usize::from(call)];
        let Some(stray) = place.take() else { return };
        let needs_funds = model.needs_funds[usize::from(call)];
        let committed = self.store.commit(needs_funds, call, stray.watermark, stray.step);
        let is_running = matches!(self.slot(server, call), Slot::Running(_));
        if heard && is_running && matches!(committed, Committed::Recorded(_)) {
            self.ended(server, call, committed);
        }
    }

    fn ended(&mut self, server: u8, call: u8, committed: Committed) {
        match committed {
            Committed::Recorded(outcome) => self.finish(server, call, Some(outcome)),
            Committed::Stale => {
                let Slot::Running(running) = *self.slot(server, call) else { return };
                *self.slot(server, call) = Slot::Vacant;
                *self.message(call, running.latest) = Some(Message::Stale);
            }
            Committed::Conflict => unreachable!("the caller runs again"),
        }
    }

    /// Keeps an outcome until it is acknowledged, and sends it.
    fn finish(&mut self, server: u8, call: u8, committed: Option<Outcome>) {
        let Slot::Running(running) = *self.slot(server, call) else { return };
        let attempt = running.latest;
        *self.slot(server, call) = Slot::Done { committed, attempt };
        *self.message(call, attempt) =
            Some(committed.map_or(Message::Tentative, Message::Committed));
    }
}
