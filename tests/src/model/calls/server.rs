//! A server: its table, and the runs that fill it.

use super::super::plan::Bug;
use super::super::state::has;
use super::world::{
    Ack, Asked, CALLS, Committed, Message, Outcome, Running, Server, Slot, Step, Stray, World,
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
                let expendable = self.may_fail(model, server, call, running.latest);
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
        if table.life != self.life() || !self.is_up() {
            return false;
        }
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
        remembers && running().all(|(call, latest)| self.may_fail(model, server, call, latest))
    }

    /// Whether what a server does for an attempt may come to nothing.
    fn may_fail(&self, model: &CallsConfig, server: u8, call: u8, latest: u8) -> bool {
        let is_earlier = self.servers[usize::from(server)].life < self.life();
        is_earlier || self.is_expendable(model, call, latest)
    }

    pub(super) fn crash(&mut self, server: u8) {
        self.left.crashes -= 1;
        self.stop_all(server);
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

    pub(super) fn handle_request(&mut self, model: &CallsConfig, call: u8, place: u8) {
        let Some(Message::Request { server, settle, ack, life, attempt, name }) =
            self.message(call, place).take()
        else {
            return;
        };
        if life < self.servers[usize::from(server)].life {
            // Its connection has made way for a later life's.
            return;
        }
        self.handle_hello(server, life);
        self.handle_ack(server, ack);
        let base = self.servers[usize::from(server)].base;
        let start = |step| {
            let (run_attempt, latest) = (attempt, attempt);
            Slot::Running(Running { step, name, run_attempt, latest, watermark: base })
        };
        if call < base {
            return self.respond(server, call, attempt, Message::Stale);
        }
        let ignores_retry = model.has_bug(Bug::TentativeForLaterAttempt);
        match *self.slot(server, call) {
            Slot::Acked => self.respond(server, call, attempt, Message::Stale),
            Slot::Running(running) => {
                let latest = running.latest.max(attempt);
                *self.slot(server, call) = Slot::Running(Running { latest, ..running });
                if settle {
                    self.abort(server, call);
                }
            }
            Slot::Done { committed: Some(outcome), .. } => {
                self.respond(server, call, attempt, Message::Committed(outcome));
            }
            Slot::Done { committed: None, attempt: owner } if attempt < owner => {}
            Slot::Done { committed: None, attempt: owner } if attempt > owner && !ignores_retry => {
                *self.slot(server, call) = start(Step::Record(Outcome::Error));
            }
            Slot::Done { committed: None, .. } => {
                self.respond(server, call, attempt, Message::Tentative);
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

    /// A life's first request comes behind its hello: the store hears of it, and it has a table of its
    /// own. What ran for an earlier life is stopped.
    fn handle_hello(&mut self, server: u8, life: u8) {
        self.store.life = self.store.life.max(life);
        if self.servers[usize::from(server)].life < life {
            self.stop_all(server);
            self.servers[usize::from(server)].life = life;
        }
    }

    /// A table is gone, with all that ran for it.
    fn stop_all(&mut self, server: u8) {
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

    pub(super) fn refuse(&mut self, call: u8, place: u8) {
        self.left.refusals -= 1;
        *self.message(call, place) = Some(Message::Refused);
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
            let Running { step, name, watermark, .. } = *running;
            let table = &mut self.servers[usize::from(server)];
            let stray = Stray { step, name, life: table.life, watermark, known: true };
            table.strays[usize::from(call)] = Some(stray);
        }
    }

    pub(super) fn run(&mut self, model: &CallsConfig, server: u8, call: u8) {
        let Slot::Running(running) = *self.slot(server, call) else { return };
        let go = |step| Slot::Running(Running { step, ..running });
        let needs_funds = model.needs_funds[usize::from(running.name)];
        let is_retry = running.run_attempt > 1;
        let asked = self.asked(server, call, &running);
        match running.step {
            Step::LookUp => match self.store.look_up(asked) {
                Some(known) => self.ended(server, call, known),
                None => *self.slot(server, call) = go(Step::Read),
            },
            Step::Read => {
                let funds = self.store.has_funds();
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
                match self.store.commit(model, asked, step) {
                    Committed::Conflict => *self.slot(server, call) = go(Step::Read),
                    known => self.ended(server, call, known),
                }
            }
        }
    }

    fn asked(&self, server: u8, call: u8, running: &Running) -> Asked {
        let life = self.servers[usize::from(server)].life;
        Asked { call, name: running.name, life, watermark: running.watermark }
    }

    /// The commit happens or not; the server cannot say, and forgets the run.
    pub(super) fn run_unknown(&mut self, model: &CallsConfig, server: u8, call: u8, done: bool) {
        self.left.unknown -= 1;
        let Slot::Running(running) = *self.slot(server, call) else { return };
        if done {
            // A conflict is no success; what the store says is lost either way.
            let asked = self.asked(server, call, &running);
            let _ = self.store.commit(model, asked, running.step);
        }
        *self.slot(server, call) = Slot::Vacant;
        self.respond(server, call, running.latest, Message::Unknown);
    }

    /// The commit of a stopped run reaches the store. What is recorded holds whoever has found it.
    pub(super) fn stray(&mut self, model: &CallsConfig, server: u8, call: u8, heard: bool) {
        let place = &mut self.servers[usize::from(server)].strays[usize::from(call)];
        let Some(stray) = place.take() else { return };
        let Stray { step, name, life, watermark, .. } = stray;
        let committed = self.store.commit(model, Asked { call, name, life, watermark }, step);
        let is_running = matches!(self.slot(server, call), Slot::Running(_));
        if heard && is_running && matches!(committed, Committed::Recorded(_)) {
            self.ended(server, call, committed);
        }
    }

    fn ended(&mut self, server: u8, call: u8, committed: Committed) {
        let Slot::Running(Running { latest, .. }) = *self.slot(server, call) else { return };
        let message = match committed {
            Committed::Recorded(outcome) => return self.finish(server, call, Some(outcome)),
            Committed::Stale => Message::Stale,
            Committed::Fenced => Message::Fenced,
            Committed::Conflict => unreachable!("the caller runs again"),
        };
        *self.slot(server, call) = Slot::Vacant;
        self.respond(server, call, latest, message);
    }

    /// Keeps an outcome until it is acknowledged, and sends it.
    fn finish(&mut self, server: u8, call: u8, committed: Option<Outcome>) {
        let Slot::Running(running) = *self.slot(server, call) else { return };
        let attempt = running.latest;
        *self.slot(server, call) = Slot::Done { committed, attempt };
        let message = committed.map_or(Message::Tentative, Message::Committed);
        self.respond(server, call, attempt, message);
    }
}
