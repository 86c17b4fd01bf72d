//! The client: sending, taking answers, giving up.

use super::super::plan::Bug;
use super::super::state::has;
use super::world::{Call, Message, Outcome, SERVERS, Slot, Told, World};
use super::{CallsAction, CallsConfig};

impl World {
    pub(super) fn client_actions(
        &self,
        model: &CallsConfig,
        call: u8,
        actions: &mut Vec<CallsAction>,
    ) {
        let known = &self.calls[usize::from(call)];
        let may_send = known.told.is_none() && known.sent < model.attempts;
        if may_send && (!self.is_early(call) || self.left.early > 0) {
            // Servers are alike: the first attempt goes to the first.
            let servers = if known.sent == 0 { 1 } else { SERVERS as u8 };
            actions.extend((0..servers).map(|server| CallsAction::Send(call, server)));
        }
        if known.told.is_none() && known.sent > 0 && !known.settle && self.left.drops > 0 {
            // Whoever gives up must be able to ask once more.
            if known.sent < model.attempts {
                actions.push(CallsAction::Drop(call));
            }
        }
        if known.cancel.is_some() {
            actions.push(CallsAction::Cancel(call));
        }
        for attempt in 1..=known.sent {
            let message = self.messages[usize::from(call)][usize::from(attempt) - 1];
            let expendable = self.is_expendable(model, call, attempt);
            match message {
                None => continue,
                Some(Message::Request { .. }) => {
                    actions.push(CallsAction::Request(call, attempt));
                    if self.left.refusals > 0 && expendable {
                        actions.push(CallsAction::Refuse(call, attempt));
                    }
                }
                Some(_) => actions.push(CallsAction::Response(call, attempt)),
            }
            if self.left.lost > 0 && expendable {
                actions.push(CallsAction::Lose(call, attempt));
            }
        }
    }

    /// Whether an answer to the latest attempt can still come.
    pub(super) fn is_early(&self, call: u8) -> bool {
        let known = &self.calls[usize::from(call)];
        if known.sent == 0 {
            return false;
        }
        let on_its_way = self.messages[usize::from(call)][usize::from(known.sent) - 1].is_some();
        let runs = self.servers.iter().any(|server| {
            matches!(server.slots[usize::from(call)],
                Slot::Running(running) if running.latest == known.sent)
        });
        on_its_way || runs
    }

    pub(super) fn send(&mut self, model: &CallsConfig, call: u8, server: u8) {
        self.left.early -= u8::from(self.is_early(call));
        let ack = self.ack(model);
        let known = &mut self.calls[usize::from(call)];
        known.sent += 1;
        known.server = server;
        let (attempt, settle) = (known.sent, known.settle);
        *self.message(call, attempt) = Some(Message::Request { server, settle, ack });
    }

    pub(super) fn drop_call(&mut self, call: u8) {
        self.left.drops -= 1;
        let known = &mut self.calls[usize::from(call)];
        (known.settle, known.cancel) = (true, Some(known.server));
    }

    pub(super) fn lose(&mut self, call: u8, attempt: u8) {
        self.left.lost -= 1;
        *self.message(call, attempt) = None;
    }

    pub(super) fn handle_response(&mut self, model: &CallsConfig, call: u8, attempt: u8) {
        let Some(message) = self.message(call, attempt).take() else { return };
        let known: &mut Call = &mut self.calls[usize::from(call)];
        if known.told.is_some() {
            return;
        }
        let takes_old = model.has_bug(Bug::TentativeFromOldAttempt);
        known.told = match message {
            Message::Request { .. } => unreachable!("a request is no response"),
            Message::Committed(Outcome::Success) => Some(Told::Success),
            Message::Committed(Outcome::Error) => Some(Told::Error),
            Message::Committed(Outcome::Aborted) => Some(Told::NotExecuted),
            Message::Tentative if attempt == known.sent || takes_old => Some(Told::Error),
            Message::Tentative | Message::Unknown => None,
            Message::Stale => Some(Told::Stale),
            Message::Refused => {
                known.refused |= 1 << attempt;
                let all = (1..=known.sent).all(|sent| has(known.refused, sent));
                let ends = known.sent == model.attempts || known.settle;
                let speaks_for_all =
                    attempt == known.sent && model.has_bug(Bug::RefusalSpeaksForAll);
                ((all && ends) || speaks_for_all).then_some(Told::NotExecuted)
            }
        };
    }
}
