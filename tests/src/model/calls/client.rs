//! The client: sending, taking answers, giving up.

use super::super::plan::Bug;
use super::super::state::has;
use super::action::Letter;
use super::world::{Ack, CALLS, Call, Message, Outcome, PLACES, SERVERS, Slot, Told, World};
use super::{CallsAction, CallsConfig};

impl World {
    pub(super) fn client_actions(
        &self,
        model: &CallsConfig,
        call: u8,
        actions: &mut Vec<CallsAction>,
    ) {
        let known = &self.calls[usize::from(call)];
        if self.may_send(model, call) {
            // Servers are alike: the first attempt goes to the first.
            let servers = if known.sent == 0 { 1 } else { SERVERS as u8 };
            actions.extend((0..servers).map(|server| CallsAction::Send(call, server)));
        }
        if known.is_open() && known.sent > 0 && !known.settle && self.left.drops > 0 {
            // Whoever gives up must be able to ask once more.
            if known.sent_in_this_life() < model.attempts {
                actions.push(CallsAction::Drop(call));
            }
        }
        if known.cancel.is_some() {
            actions.push(CallsAction::Cancel(call));
        }
        for place in 0..PLACES as u8 {
            if let Some(message) = self.messages[usize::from(call)][usize::from(place)] {
                self.message_actions(model, call, place, message, actions);
            }
        }
    }

    fn message_actions(
        &self,
        model: &CallsConfig,
        call: u8,
        place: u8,
        message: Message,
        actions: &mut Vec<CallsAction>,
    ) {
        let (is_request, life, attempt) = match message {
            Message::Request { life, attempt, .. } => (true, life, attempt),
            _ => (false, self.life(), self.attempt_at(call, place)),
        };
        let letter = Letter { call, place, life, attempt };
        actions.push(if is_request {
            CallsAction::Request(letter)
        } else {
            CallsAction::Response(letter)
        });
        // What an earlier life has sent is as good as lost when it comes behind the next hello.
        if life < self.life() || !self.is_expendable(model, call, attempt) {
            return;
        }
        if is_request && self.left.refusals > 0 {
            actions.push(CallsAction::Refuse(letter));
        }
        if self.left.lost > 0 {
            actions.push(CallsAction::Lose(letter));
        }
    }

    fn may_send(&self, model: &CallsConfig, call: u8) -> bool {
        let known = &self.calls[usize::from(call)];
        let may_attempt = known.is_open() && known.sent_in_this_life() < model.attempts;
        may_attempt
            && match &self.journal {
                // That an attempt is early was paid for when it was written down.
                Some(journal) => journal.may_send(model, call, known),
                None => !self.is_early(call) || self.left.early > 0,
            }
    }

    /// Whether an answer to the latest attempt can still come.
    pub(super) fn is_early(&self, call: u8) -> bool {
        let known = &self.calls[usize::from(call)];
        if known.sent_in_this_life() == 0 {
            return false;
        }
        let place = usize::from(self.place(call, known.sent));
        let on_its_way = self.messages[usize::from(call)][place].is_some();
        let runs = self.servers.iter().any(|server| {
            server.life == self.life()
                && matches!(server.slots[usize::from(call)],
                    Slot::Running(running) if running.latest == known.sent)
        });
        on_its_way || runs
    }

    pub(super) fn send(&mut self, model: &CallsConfig, call: u8, server: u8) {
        if self.journal.is_none() {
            self.left.early -= u8::from(self.is_early(call));
        }
        let (ack, life) = (self.ack(model), self.life());
        let known = &mut self.calls[usize::from(call)];
        known.sent += 1;
        known.server = server;
        let Call { sent: attempt, settle, name, .. } = *known;
        if let Some(journal) = &mut self.journal {
            journal.note_sent(call, name);
        }
        let place = self.place(call, attempt);
        let request = Message::Request { server, settle, ack, life, attempt, name };
        *self.message(call, place) = Some(request);
    }

    pub(super) fn drop_call(&mut self, call: u8) {
        self.left.drops -= 1;
        let known = &mut self.calls[usize::from(call)];
        (known.settle, known.cancel) = (true, Some(known.server));
    }

    pub(super) fn lose(&mut self, call: u8, place: u8) {
        self.left.lost -= 1;
        *self.message(call, place) = None;
    }

    pub(super) fn handle_response(&mut self, model: &CallsConfig, call: u8, place: u8) {
        let Some(message) = self.message(call, place).take() else { return };
        let attempt = self.attempt_at(call, place);
        let known: &mut Call = &mut self.calls[usize::from(call)];
        if !known.is_open() {
            return;
        }
        let takes_old = model.has_bug(Bug::TentativeFromOldAttempt);
        let told = match message {
            Message::Request { .. } => unreachable!("a request is no response"),
            Message::Committed(Outcome::Success) => Some(Told::Success),
            Message::Committed(Outcome::Error) => Some(Told::Error),
            Message::Committed(Outcome::Aborted) => Some(Told::NotExecuted),
            Message::Tentative if attempt == known.sent || takes_old => Some(Told::Error),
            Message::Tentative | Message::Unknown => None,
            Message::Stale => Some(Told::Stale),
            Message::Fenced => Some(Told::Fenced),
            Message::Refused => {
                known.refused |= 1 << attempt;
                let all = (1..=known.sent).all(|sent| has(known.refused, sent));
                let ends = known.sent_in_this_life() == model.attempts || known.settle;
                let speaks_for_all =
                    attempt == known.sent && model.has_bug(Bug::RefusalSpeaksForAll);
                ((all && ends) || speaks_for_all).then_some(Told::NotExecuted)
            }
        };
        if let Some(told) = told {
            self.complete(model, call, told);
        }
    }

    /// The client knows how a call ended. Its caller is told at once, unless there is a journal.
    fn complete(&mut self, model: &CallsConfig, call: u8, told: Told) {
        match self.journal {
            Some(_) => self.must_journal_end(model, call, told),
            None => self.calls[usize::from(call)].told = Some(told),
        }
    }

    /// What the client acknowledges now.
    pub(super) fn ack(&self, model: &CallsConfig) -> Ack {
        let numbers = self.journal.as_ref().map_or(CALLS, |journal| journal.next_number());
        let is_over = |call: usize| {
            let known = &self.calls[call];
            call < numbers && (known.told.is_some() || known.gone)
        };
        let first = (0..CALLS).find(|call| !is_over(*call)).unwrap_or(CALLS);
        let last = (0..CALLS).rfind(|call| is_over(*call)).map_or(0, |last| last + 1);
        let watermark = if model.has_bug(Bug::AckPastGap) { last } else { first };
        let bitmap = (first..CALLS).filter(|call| is_over(*call));
        let bitmap = bitmap.fold(0, |set, call| set | 1 << call);
        Ack { watermark: watermark as u8, bitmap }
    }

    /// What callers were told is what has become of their calls.
    pub(super) fn told_the_truth(&self) -> bool {
        let is_so = |name: usize, told: Option<Told>| match told {
            None => true,
            Some(Told::Success) => self.store.applied[name] == 1,
            Some(Told::Error | Told::NotExecuted) => self.store.applied[name] == 0,
            Some(Told::Stale | Told::Fenced) => false,
        };
        let known = self.calls.iter().all(|call| is_so(usize::from(call.name), call.told));
        let heard = self.journal.as_ref().map(|journal| journal.heard);
        known && heard.into_iter().flatten().enumerate().all(|(name, told)| is_so(name, told))
    }
}
