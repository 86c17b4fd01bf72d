//! The client's journal: what is written down before what is done, and the life after a crash.
//!
//! A call is made under a name, and by each life of its caller again until it was told; the journal
//! gives it a number, which is what servers and store know it by. Calls are the same but for their
//! names: no hash of their arguments tells them apart.
//!
//! All that waits to be written makes one batch, and only one is on its way. A batch is there or not
//! when the client crashes.

use super::super::plan::Bug;
use super::super::state::{Set, has};
use super::world::{Ack, CALLS, Call, Message, NAMES, Server, Slot, Told, World};
use super::{CallsAction, CallsConfig};

/// How many attempts are written down ahead: as few as can be, so that a retry has to be.
const AHEAD: u8 = 1;

/// What a journal says of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Row {
    #[default]
    None,
    /// No attempt had a higher number.
    Open {
        name: u8,
        attempts: u8,
    },
    Ended {
        name: u8,
        told: Told,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rows {
    /// The client's life, from 0: its incarnation less 1.
    pub(super) life: u8,
    /// No call has had this number, or a higher one.
    pub(super) numbers: u8,
    pub(super) calls: [Row; CALLS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    /// What the next life will find. The client acts on nothing else.
    pub(super) durable: Rows,
    /// What the batch makes of it that is on its way.
    pub(super) writing: Option<Rows>,
    /// The same, once all that waits is written too.
    pub(super) asked: Rows,
    /// Names that have had a number in this life.
    pub(super) made: Set,
    /// Names that were told of in this life, or that their callers have forgotten.
    pub(super) answered: Set,
    pub(super) forgotten: Set,
    /// By name: what the first life that was told anything was told. Of a call that was not executed
    /// nothing is kept: whoever makes it again may be told anything.
    pub(super) heard: [Option<Told>; NAMES],
    /// By number: the name that it was first sent for.
    pub(super) sent_for: [Option<u8>; CALLS],
    /// By number: the highest attempt that an earlier life has sent.
    pub(super) sent_earlier: [u8; CALLS],
}

impl Journal {
    pub(super) fn next_number(&self) -> usize {
        usize::from(self.asked.numbers)
    }

    /// A life does nothing before its incarnation is written down.
    fn is_up(&self) -> bool {
        self.durable.life == self.asked.life
    }

    /// Whether the next attempt has a number that is written down.
    pub(super) fn may_send(&self, model: &CallsConfig, call: u8, known: &Call) -> bool {
        let is_made = call < self.asked.numbers;
        let is_written = matches!(self.durable.calls[usize::from(call)],
            Row::Open { name, attempts } if name == known.name && attempts > known.sent);
        let unwritten = model.has_bug(Bug::SentBeforeWrittenDown) && known.sent < AHEAD;
        self.is_up() && is_made && (is_written || unwritten)
    }

    pub(super) fn note_sent(&mut self, call: u8, name: u8) {
        self.sent_for[usize::from(call)].get_or_insert(name);
    }

    /// Whether this may be acknowledged: nobody will ask for the call again, or is told its end.
    fn may_forget(&self, call: usize) -> bool {
        match self.durable.calls[call] {
            Row::Open { .. } => false,
            Row::Ended { .. } => true,
            Row::None => call < usize::from(self.durable.numbers),
        }
    }
}

/// Steps.
impl World {
    pub(super) fn journal_actions(&self, model: &CallsConfig, actions: &mut Vec<CallsAction>) {
        let Some(journal) = &self.journal else { return };
        match journal.writing {
            Some(_) => actions.push(CallsAction::Written),
            None if journal.asked != journal.durable => actions.push(CallsAction::Write),
            None => {}
        }
        if self.left.client_crashes > 0 {
            actions.push(CallsAction::ClientCrash(false));
            if journal.writing.is_some() {
                actions.push(CallsAction::ClientCrash(true));
            }
        }
        if !journal.is_up() {
            return;
        }
        let number = journal.asked.numbers;
        for name in (0..model.calls as u8).filter(|name| !has(journal.made, *name)) {
            if usize::from(number) < CALLS {
                actions.push(CallsAction::Make(name, number));
            }
        }
        for call in 0..number {
            if self.may_ask_attempt(model, journal, call) {
                actions.push(CallsAction::AskAttempt(call));
            }
            let is_told = self.calls[usize::from(call)].told.is_some();
            let is_ended = matches!(journal.asked.calls[usize::from(call)], Row::Ended { .. });
            if self.left.forgotten_names > 0 && is_told && is_ended {
                actions.push(CallsAction::ForgetName(call));
            }
        }
    }

    /// The client wants to send a call again, and its next attempt has no number yet.
    fn may_ask_attempt(&self, model: &CallsConfig, journal: &Journal, call: u8) -> bool {
        let known = &self.calls[usize::from(call)];
        let sent = known.sent_in_this_life();
        let is_used = matches!(journal.asked.calls[usize::from(call)],
            Row::Open { attempts, .. } if attempts == known.sent);
        let may_attempt = known.is_open() && 0 < sent && sent < model.attempts;
        may_attempt && is_used && (!self.is_early(call) || self.left.early > 0)
    }

    /// Makes a call: it gets a number, and a row.
    pub(super) fn start_journalled(&mut self, name: u8, call: u8) {
        let Some(journal) = &mut self.journal else { return };
        journal.asked.numbers = call + 1;
        journal.asked.calls[usize::from(call)] = Row::Open { name, attempts: AHEAD };
        journal.made |= 1 << name;
        self.calls[usize::from(call)] = Call { name, ..Call::default() };
    }

    pub(super) fn must_journal_attempt(&mut self, call: u8) {
        self.left.early -= u8::from(self.is_early(call));
        let Some(journal) = &mut self.journal else { return };
        if let Row::Open { attempts, .. } = &mut journal.asked.calls[usize::from(call)] {
            *attempts += AHEAD;
        }
    }

    pub(super) fn must_journal_end(&mut self, model: &CallsConfig, call: u8, told: Told) {
        let Some(journal) = &mut self.journal else { return };
        let known = &mut self.calls[usize::from(call)];
        let name = known.name;
        let row = match told {
            Told::NotExecuted => Row::None,
            told => Row::Ended { name, told },
        };
        journal.asked.calls[usize::from(call)] = row;
        known.ending = Some(told);
        if model.has_bug(Bug::ToldBeforeWrittenDown) {
            self.finish_call(call, told);
        }
    }

    /// Its caller is told, and the call acknowledged from now on.
    fn finish_call(&mut self, call: u8, told: Told) {
        let Some(journal) = &mut self.journal else { return };
        let known = &mut self.calls[usize::from(call)];
        *known =
            Call { name: known.name, told: Some(told), cancel: known.cancel, ..Call::default() };
        journal.answered |= 1 << known.name;
        if told != Told::NotExecuted {
            journal.heard[usize::from(known.name)].get_or_insert(told);
        }
    }

    pub(super) fn poll_journal(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.writing = Some(journal.asked);
        }
    }

    /// The batch is durable: what has waited for it goes on.
    pub(super) fn handle_journalled(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        let Some(written) = journal.writing.take() else { return };
        journal.durable = written;
        for call in 0..written.numbers {
            let is_open = matches!(written.calls[usize::from(call)], Row::Open { .. });
            if let Some(told) = self.calls[usize::from(call)].ending.filter(|_| !is_open) {
                self.finish_call(call, told);
            }
        }
    }

    /// The caller has seen to the outcome, and lets go of the name.
    pub(super) fn forget_named(&mut self, call: u8) {
        self.left.forgotten_names -= 1;
        let Some(journal) = &mut self.journal else { return };
        journal.asked.calls[usize::from(call)] = Row::None;
        journal.forgotten |= 1 << self.calls[usize::from(call)].name;
    }

    /// The client crashes, with what it was writing written or not. What it has sent is still under
    /// way; whatever is answered reaches nobody. The next life reads the journal.
    pub(super) fn client_crash(&mut self, model: &CallsConfig, written: bool) {
        self.left.client_crashes -= 1;
        let Some(journal) = &mut self.journal else { return };
        let batch = journal.writing.take();
        journal.durable = batch.filter(|_| written).unwrap_or(journal.durable);
        for (sent, known) in journal.sent_earlier.iter_mut().zip(&self.calls) {
            if known.sent_in_this_life() > 0 {
                *sent = known.sent;
            }
        }
        for message in self.messages.iter_mut().flatten() {
            message.take_if(|message| !matches!(message, Message::Request { .. }));
        }
        self.load(model);
    }

    /// From rows back to calls; and what is written before this life does anything.
    fn load(&mut self, model: &CallsConfig) {
        let Some(journal) = &mut self.journal else { return };
        let found = journal.durable;
        journal.asked = Rows { life: found.life + 1, ..found };
        journal.answered = journal.forgotten;
        journal.made = journal.forgotten;
        for (number, row) in (0u8..).zip(found.calls) {
            let known = &mut self.calls[usize::from(number)];
            *known = Call::default();
            match row {
                Row::Open { name, attempts } => {
                    let starts_anew = model.has_bug(Bug::AttemptsStartAnew);
                    let used = if starts_anew { 0 } else { attempts };
                    (known.name, known.sent, known.earlier_lives) = (name, used, used);
                    journal.made |= 1 << name;
                    let row = Row::Open { name, attempts: used + AHEAD };
                    journal.asked.calls[usize::from(number)] = row;
                }
                Row::Ended { name, told } => {
                    (known.name, known.told) = (name, Some(told));
                    journal.made |= 1 << name;
                    journal.answered |= 1 << name;
                    journal.heard[usize::from(name)].get_or_insert(told);
                }
                Row::None => known.gone = number < found.numbers,
            }
        }
        if model.has_bug(Bug::NumbersStartAnew) {
            let is_open = |row: &Row| matches!(row, Row::Open { .. });
            let last = found.calls.iter().rposition(is_open);
            journal.asked.numbers = last.map_or(0, |last| last as u8 + 1);
        }
        journal.writing = Some(journal.asked);
    }

    /// The store refuses whatever earlier lives have under way, once the latest has said hello.
    pub(super) fn wipe_earlier_lives(&mut self) {
        let latest = self.store.life;
        for message in self.messages.iter_mut().flatten() {
            message.take_if(
                |message| matches!(message, Message::Request { life, .. } if *life < latest),
            );
        }
        for server in &mut self.servers {
            if server.life < latest {
                let strays = server.strays;
                *server = Server { life: latest, strays, ..Server::default() };
            }
            for stray in &mut server.strays {
                stray.take_if(|stray| stray.life < latest);
            }
        }
    }
}

/// What is so.
impl World {
    /// Which life of the client is the present one, from 0.
    pub(super) fn life(&self) -> u8 {
        self.journal.as_ref().map_or(0, |journal| journal.asked.life)
    }

    pub(super) fn is_up(&self) -> bool {
        self.journal.as_ref().is_none_or(Journal::is_up)
    }

    /// Every caller was told in this life.
    pub(super) fn all_answered(&self, model: &CallsConfig) -> bool {
        match &self.journal {
            Some(journal) => (0..model.calls as u8).all(|name| has(journal.answered, name)),
            None => self.calls.iter().take(model.calls).all(|call| call.told.is_some()),
        }
    }

    /// What one life is told of a call is what every life is told.
    pub(super) fn all_lives_are_told_the_same(&self) -> bool {
        let Some(journal) = &self.journal else { return true };
        self.calls.iter().all(|call| {
            let heard = journal.heard[usize::from(call.name)];
            call.told.is_none() || heard.is_none() || heard == call.told
        })
    }

    /// Nothing is acknowledged, anywhere, whose end the journal does not have.
    pub(super) fn acknowledges_what_is_journalled(&self) -> bool {
        let Some(journal) = &self.journal else { return true };
        let sent = self.messages.iter().flatten().flatten().filter_map(|message| match message {
            Message::Request { ack, .. } => Some(*ack),
            _ => None,
        });
        let known = self.servers.iter().map(|table| {
            let acked = (0..CALLS).filter(|call| table.slots[*call] == Slot::Acked);
            Ack { watermark: table.base, bitmap: acked.fold(0, |set, call| set | 1 << call) }
        });
        let stored = Ack { watermark: self.store.watermark, bitmap: 0 };
        sent.chain(known).chain([stored]).all(|ack| {
            let is_acked = |call: u8| call < ack.watermark || has(ack.bitmap, call);
            (0..CALLS as u8)
                .filter(|call| is_acked(*call))
                .all(|call| journal.may_forget(usize::from(call)))
        })
    }

    /// An attempt that was sent has a number that the journal has.
    pub(super) fn sends_what_is_journalled(&self) -> bool {
        let Some(journal) = &self.journal else { return true };
        let is_written = |row: &Row, known: &Call| {
            matches!(row, Row::Open { name, attempts }
                if *name == known.name && *attempts >= known.sent)
        };
        let mut calls = self.calls.iter().zip(&journal.durable.calls);
        calls.all(|(known, row)| known.sent_in_this_life() == 0 || is_written(row, known))
    }

    /// No number is used for two calls.
    pub(super) fn numbers_are_used_once(&self) -> bool {
        let Some(journal) = &self.journal else { return true };
        let mut calls = self.calls.iter().zip(journal.sent_for);
        calls.all(|(known, name)| known.sent_in_this_life() == 0 || name == Some(known.name))
    }

    /// Attempts are above all that earlier lives have sent.
    pub(super) fn attempts_are_above_earlier_lives(&self) -> bool {
        let Some(journal) = &self.journal else { return true };
        let mut calls = self.calls.iter().zip(journal.sent_earlier);
        calls.all(|(known, earlier)| {
            known.sent_in_this_life() == 0 || known.earlier_lives >= earlier
        })
    }
}
