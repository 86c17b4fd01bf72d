//! Reading: `look_up`, `read`, `load_effective`, `confirm`.

use super::plan::Bug;
use super::run::{Found, Obstacle, Step};
use super::state::{Answer, Body, Cas, Clear, Fate, Never};
use super::turn::Turn;

impl Turn<'_> {
    /// The look before the leap of a retry.
    pub(super) fn look_up(&mut self, slot: usize) {
        if self.is_refused_by_lease(slot) {
            return self.answer(slot, Answer::Never(Never::SessionClosed));
        }
        match self.look_for(slot) {
            Found::Unknown => self.start(slot),
            found => self.answer_found(slot, found),
        }
    }

    /// What the anchor says of the call now.
    pub(super) fn look_for(&self, slot: usize) -> Found {
        let plan = self.plan(slot);
        let anchor = &self.state.docs[usize::from(plan.anchor)];
        if let Some(record) = anchor.records[usize::from(self.call(slot))] {
            return Found::Recorded(record.outcome);
        }
        let entry = anchor.entries[usize::from(plan.client)];
        if plan.seq < entry.watermark.max(self.run(slot).watermark) {
            Found::Stale
        } else if self.run(slot).incarnation < entry.incarnation {
            Found::Fenced
        } else {
            Found::Unknown
        }
    }

    pub(super) fn answer_found(&mut self, slot: usize, found: Found) {
        let answer = match found {
            Found::Recorded(outcome) => Answer::Committed(outcome),
            Found::Stale => Answer::Never(Never::Stale),
            Found::Fenced => Answer::Never(Never::Fenced),
            Found::Unknown => unreachable!("the caller goes on"),
        };
        self.answer(slot, answer);
    }

    pub(super) fn load(&mut self, slot: usize, doc: u8) {
        let found = &self.state.docs[usize::from(doc)];
        let (cas, body, stage) = (found.cas(), found.body, found.stage);
        let keeps_stage = self.has_bug(Bug::ReadNotRepeated);
        let run = self.run_mut(slot);
        run.cas[usize::from(doc)] = cas;
        run.view[usize::from(doc)] = body;
        run.was_true = false;
        run.obstacle = stage.filter(|_| keeps_stage).map(|stage| Obstacle::of(&stage, Cas::Unread));
        match stage {
            None => self.loaded(slot, doc),
            Some(_) => run.step = Step::AskAnchor(doc),
        }
    }

    pub(super) fn ask_anchor(&mut self, slot: usize, doc: u8) {
        // Whatever the anchor says, what follows fails or starts over on a document that has changed.
        let changed = self.run(slot).cas[usize::from(doc)] != Cas::Current;
        if self.has_bug(Bug::ReadNotRepeated) && self.takes_old_body(slot, doc) {
            return;
        }
        let stage = self.state.docs[usize::from(doc)].stage;
        let Some(stage) = stage.filter(|_| !changed) else {
            self.run_mut(slot).step = Step::Load(doc);
            return;
        };
        let fate = match self.state.fate_of(&stage) {
            Fate::Undecided if self.has_bug(Bug::UndecidedTakenForLost) => Fate::Lost,
            Fate::Undecided if self.is_taken_for_lost(&stage) => Fate::Lost,
            fate => fate,
        };
        let run = self.run_mut(slot);
        if fate == Fate::Undecided {
            run.step = Step::LoadAgain(doc);
        } else {
            run.clears = stage.token;
            let how = if fate == Fate::Won { Clear::Forward } else { Clear::Back };
            run.step = Step::ClearMet(doc, how);
        }
    }

    /// Takes what was read beside a stage whose anchor has no record, wherever that stage is now.
    fn takes_old_body(&mut self, slot: usize, doc: u8) -> bool {
        let Some(stage) = self.run_mut(slot).obstacle.take() else { return false };
        let anchor = &self.state.docs[usize::from(stage.anchor)];
        let record = anchor.records[usize::from(stage.call)];
        let has_won = record.is_some_and(|record| record.token == Some(stage.token));
        let is_undecided = !has_won && anchor.may_be_as_read(stage.anchor_cas, stage.client);
        if is_undecided {
            let old = self.run(slot).view[usize::from(doc)];
            self.run_mut(slot).occupied |= 1 << doc;
            self.loaded_with(slot, doc, old);
        }
        is_undecided
    }

    pub(super) fn load_again(&mut self, slot: usize, doc: u8) {
        if self.run(slot).cas[usize::from(doc)] != Cas::Current {
            return self.load(slot, doc);
        }
        self.run_mut(slot).occupied |= 1 << doc;
        self.loaded(slot, doc);
    }

    /// A document is read.
    pub(super) fn loaded(&mut self, slot: usize, doc: u8) {
        self.loaded_with(slot, doc, self.state.docs[usize::from(doc)].body);
    }

    fn loaded_with(&mut self, slot: usize, doc: u8, body: Body) {
        let plan = self.plan(slot);
        let found = &self.state.docs[usize::from(doc)];
        let wish = found.wish.filter(|wish| *wish < self.place(slot)).map(|wish| wish.call);
        let waits = plan.reads.contains(&doc) && !self.has_bug(Bug::NoRightOfWay);
        let run = self.run_mut(slot);
        run.view[usize::from(doc)] = body;
        run.older |= wish.filter(|_| waits).map_or(0, |wish| 1 << wish);
        if doc == plan.anchor && !self.has_bug(Bug::CommitWithoutIdCheck) {
            self.run_mut(slot).found = self.look_for(slot);
        }
        let run = self.run(slot);
        let unread = |doc: &&u8| run.cas[usize::from(**doc)] == Cas::Unread;
        let next = plan.reads.iter().find(unread);
        match next {
            _ if run.aborting => self.run_commit(slot),
            Some(next) => self.run_mut(slot).step = Step::Load(*next),
            None if plan.reads.contains(&doc) => self.end_business(slot),
            None => self.run_commit(slot),
        }
    }

    /// The business has read all that it reads, and returns.
    fn end_business(&mut self, slot: usize) {
        let plan = self.plan(slot);
        let run = self.run(slot);
        let writes = plan.accepts(&run.view) && !plan.writes.is_empty();
        if writes || self.records_without_writes(slot) {
            self.run_mut(slot).step = Step::CheckSession;
            self.skip_session_check(slot);
        } else if plan.reads.len() < 2 || self.has_bug(Bug::NotConfirmed) {
            let outcome = self.outcome(slot);
            self.answer(slot, Answer::Tentative(outcome));
        } else {
            self.run_mut(slot).step = Step::Confirm(plan.reads[0]);
        }
    }

    /// Whether this run's outcome is recorded although it writes nothing.
    fn records_without_writes(&self, slot: usize) -> bool {
        let ignored =
            self.has_bug(Bug::RetryBitIgnored) || self.has_bug(Bug::ErrorOfRetryNotRecorded);
        self.attempt(slot) > 1 && !ignored
    }

    pub(super) fn confirm(&mut self, slot: usize, doc: u8) {
        let index = usize::from(doc);
        let now = &self.state.docs[index];
        let run = self.run(slot);
        // Two absences are equal, whatever their versions.
        let holds = if run.view[index] == 0 {
            now.body == 0
        } else {
            now.body != 0 && run.cas[index] == now.cas()
        };
        if !holds {
            return self.start(slot);
        }
        let Some(stage) = now.stage else { return self.confirmed(slot, doc) };
        let anchor = self.state.docs[usize::from(stage.anchor)].cas();
        let run = self.run_mut(slot);
        run.obstacle = Some(Obstacle::of(&stage, anchor));
        run.seen_again = Cas::Current;
        run.step = Step::ConfirmAsk(doc);
    }

    pub(super) fn confirm_ask(&mut self, slot: usize, doc: u8) {
        let stage = self.run(slot).obstacle.expect("set when the stage was met");
        let anchor = &self.state.docs[usize::from(stage.anchor)];
        let record = anchor.records[usize::from(stage.call)];
        if record.is_some_and(|record| record.token == Some(stage.token)) {
            return self.start(slot);
        }
        let is_undecided = anchor.may_be_as_read(stage.anchor_cas, stage.client);
        self.run_mut(slot).obstacle = None;
        if is_undecided || self.has_bug(Bug::LostStageNotSeenAgain) {
            self.confirmed(slot, doc);
        } else {
            self.run_mut(slot).step = Step::ConfirmAgain(doc);
        }
    }

    /// A record is not trimmed while its stage stands: if the stage is still there, it has lost.
    pub(super) fn confirm_again(&mut self, slot: usize, doc: u8) {
        if self.run(slot).seen_again == Cas::Current {
            self.confirmed(slot, doc);
        } else {
            self.start(slot);
        }
    }

    fn confirmed(&mut self, slot: usize, doc: u8) {
        let plan = self.plan(slot);
        let place = plan.reads.iter().position(|read| *read == doc);
        let next = plan.reads.get(place.expect("only what was read is confirmed") + 1);
        let run = self.run_mut(slot);
        run.seen_again = Cas::Unread;
        if let Some(next) = next {
            run.step = Step::Confirm(*next);
            return;
        }
        if self.records_without_writes(slot) {
            self.before_anchor(slot);
        } else {
            let outcome = self.outcome(slot);
            self.answer(slot, Answer::Tentative(outcome));
        }
    }
}
