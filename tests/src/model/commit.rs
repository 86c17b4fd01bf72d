//! One run: stage, commit point, what follows.

use super::plan::{Bug, Effect};
use super::run::{After, Found, Step};
use super::state::{
    Answer, Broken, Cas, Change, Clear, Never, Op, Outcome, Record, Stage, Write, append, has,
};
use super::turn::{Turn, Written, lowest};

impl Turn<'_> {
    /// What the run returns if it is committed as it stands.
    pub(super) fn outcome(&self, slot: usize) -> Outcome {
        let (run, plan) = (self.run(slot), self.plan(slot));
        if run.aborting {
            return Outcome::Aborted;
        }
        let mut view = [0; super::state::DOCS];
        for doc in plan.reads {
            view[usize::from(*doc)] = run.view[usize::from(*doc)];
        }
        if plan.accepts(&view) { Outcome::Success(view) } else { Outcome::BusinessError(view) }
    }

    /// Whether the run changes documents.
    pub(super) fn has_writes(&self, slot: usize) -> bool {
        let (run, plan) = (self.run(slot), self.plan(slot));
        !run.aborting && !plan.writes.is_empty() && plan.accepts(&run.view)
    }

    /// `commit`, from where the session is known to last.
    pub(super) fn begin_commit(&mut self, slot: usize) {
        let found = self.run(slot).found;
        if found != Found::Unknown {
            return self.answer_found(slot, found);
        }
        self.let_older_go_first(slot);
    }

    /// Goes on with the anchor, once it is read.
    pub(super) fn at_the_anchor(&mut self, slot: usize) {
        let anchor = self.plan(slot).anchor;
        if self.run(slot).cas[usize::from(anchor)] == Cas::Unread {
            self.run_mut(slot).step = Step::Load(anchor);
        } else {
            self.run_commit(slot);
        }
    }

    /// `run`, from where the anchor is at hand.
    pub(super) fn run_commit(&mut self, slot: usize) {
        let (run, plan) = (*self.run(slot), self.plan(slot));
        if run.found != Found::Unknown {
            return self.answer_found(slot, run.found);
        }
        let ignores = self.has_bug(Bug::ForeignStageOnAnchorIgnored);
        if has(run.occupied, plan.anchor) && !ignores {
            self.run_mut(slot).step = Step::MakeWay(plan.anchor);
        } else if self.has_writes(slot) {
            self.stage_all(slot);
        } else if run.aborting || plan.reads.is_empty() || self.has_bug(Bug::NotConfirmed) {
            self.before_anchor(slot);
        } else {
            self.run_mut(slot).step = Step::Confirm(plan.reads[0]);
        }
    }

    /// Goes on with the documents that are to be staged, in any order; when all were tried, to the
    /// commit point, or back.
    pub(super) fn stage_all(&mut self, slot: usize) {
        for doc in self.to_stage(slot) {
            if has(self.run(slot).occupied, doc) {
                let run = self.run_mut(slot);
                run.tried |= 1 << doc;
                run.after.get_or_insert(After::MakeWay(doc));
            }
        }
        if !self.to_stage(slot).is_empty() {
            self.run_mut(slot).step = Step::StageAll;
            return;
        }
        match self.run(slot).after {
            Some(after) => self.take_back(slot, after),
            None => self.before_anchor(slot),
        }
    }

    /// Documents that are to be staged and were not tried yet.
    pub(super) fn to_stage(&self, slot: usize) -> Vec<u8> {
        let guards = !self.has_bug(Bug::NoGuard);
        let tried = self.run(slot).tried;
        self.plan(slot).others(guards).filter(|doc| !has(tried, *doc)).collect()
    }

    pub(super) fn stage_of(&self, slot: usize, doc: u8) -> Stage {
        let (run, plan, call) = (self.run(slot), self.plan(slot), self.call(slot));
        let change = match plan.writes_to(doc) {
            None => Change::Guard,
            Some(Effect::Delete(_)) => Change::Delete,
            Some(Effect::Put(_)) => {
                Change::Put(append(run.view[usize::from(doc)], usize::from(call)))
            }
        };
        Stage {
            anchor: plan.anchor,
            anchor_cas: run.cas[usize::from(plan.anchor)],
            client: plan.client,
            call,
            attempt: self.attempt(slot),
            token: run.token,
            change,
        }
    }

    pub(super) fn staged(&mut self, slot: usize, doc: u8, written: Written) {
        let run = self.run_mut(slot);
        run.tried |= 1 << doc;
        match written {
            Written::Done => {
                run.staged |= 1 << doc;
                run.cas[usize::from(doc)] = Cas::Current;
            }
            Written::Lost => {
                run.after.get_or_insert(After::StartOver);
            }
            Written::Unavailable => run.after = Some(After::Refused),
        }
        self.stage_all(slot);
    }

    pub(super) fn before_anchor(&mut self, slot: usize) {
        let rechecks = self.model.config.sessions && !self.has_bug(Bug::LeaseNotRechecked);
        let step = if rechecks { Step::RecheckSession } else { Step::WriteAnchor };
        self.run_mut(slot).step = step;
        if self.has_bug(Bug::AnchorCasRefreshed) {
            let anchor = usize::from(self.plan(slot).anchor);
            self.run_mut(slot).cas[anchor] = self.state.docs[anchor].cas();
        }
    }

    pub(super) fn recheck_session(&mut self, slot: usize) {
        if self.is_refused_by_lease(slot) {
            self.take_back(slot, After::Refused);
        } else {
            self.run_mut(slot).step = Step::WriteAnchor;
        }
    }

    pub(super) fn commit_of(&self, slot: usize) -> Write {
        let (run, plan) = (self.run(slot), self.plan(slot));
        let outcome = self.outcome(slot);
        let with_token =
            self.has_writes(slot) || (run.aborting && self.has_bug(Bug::AbortedRecordWithToken));
        let body = self.has_writes(slot).then(|| plan.writes_to(plan.anchor)).flatten();
        let body = body.map(|effect| match effect {
            Effect::Put(doc) => append(run.view[usize::from(doc)], usize::from(self.call(slot))),
            Effect::Delete(_) => 0,
        });
        let record = Record { outcome, token: with_token.then_some(run.token), to_do: run.staged };
        let op = Op::Commit { slot: slot as u8, record, body };
        Write { doc: plan.anchor, over: run.cas[usize::from(plan.anchor)], op }
    }

    pub(super) fn wrote_anchor(&mut self, slot: usize, written: Written) {
        match written {
            Written::Done => {
                let outcome = self.outcome(slot);
                if !self.has_writes(slot) && outcome != Outcome::Aborted && !self.run(slot).was_true
                {
                    self.break_rule(Broken::TornOutcome);
                }
                self.answer(slot, Answer::Committed(outcome));
                self.next_unstage(slot);
            }
            Written::Lost => self.run_mut(slot).step = Step::Lost,
            Written::Unavailable => self.take_back(slot, After::Refused),
        }
    }

    fn next_unstage(&mut self, slot: usize) {
        match lowest(self.run(slot).staged) {
            Some(doc) => self.run_mut(slot).step = Step::Unstage(doc),
            None => self.end(slot),
        }
    }

    pub(super) fn unstaged(&mut self, slot: usize, doc: u8, written: Written) {
        if self.is_still_staged(slot, doc, written) {
            return;
        }
        self.run_mut(slot).staged &= !(1 << doc);
        if self.run(slot).staged == 0 {
            let (call, server) = (self.call(slot), self.model.server(self.attempt(slot)));
            self.state.cleared[server] |= 1 << call;
        }
        self.next_unstage(slot);
    }

    /// After a lost write: another state of the document may still carry the stage.
    fn is_still_staged(&mut self, slot: usize, doc: u8, written: Written) -> bool {
        let token = self.run(slot).token;
        let stage = self.state.docs[usize::from(doc)].stage;
        let is_there = written == Written::Lost && stage.is_some_and(|s| s.token == token);
        if is_there {
            self.run_mut(slot).cas[usize::from(doc)] = Cas::Current;
        }
        is_there
    }

    /// Removes the stages of a run that will not commit, then goes on with `after`.
    pub(super) fn take_back(&mut self, slot: usize, after: After) {
        self.run_mut(slot).after = Some(after);
        if let Some(doc) = lowest(self.run(slot).staged) {
            self.run_mut(slot).step = Step::TakeBack(doc);
            return;
        }
        match after {
            After::StartOver => self.start(slot),
            After::MakeWay(doc) => self.run_mut(slot).step = Step::MakeWay(doc),
            After::Lost => self.has_lost(slot),
            After::Refused if self.is_refused_by_lease(slot) => {
                self.answer(slot, Answer::Never(Never::SessionClosed));
            }
            After::Refused => self.answer(slot, Answer::Refused),
        }
    }

    pub(super) fn took_back(&mut self, slot: usize, doc: u8, written: Written) {
        if self.is_still_staged(slot, doc, written) {
            return;
        }
        self.run_mut(slot).staged &= !(1 << doc);
        let after = self.run(slot).after.expect("stages are taken back for a reason");
        self.take_back(slot, after);
    }

    /// The anchor is in another state: somebody has won. Looked at before the stages are taken back.
    pub(super) fn lost(&mut self, slot: usize) {
        let plan = self.plan(slot);
        let anchor = self.state.docs[usize::from(plan.anchor)];
        let found = self.look_for(slot);
        let winner = self.winner(slot);
        let run = self.run_mut(slot);
        run.found = found;
        run.winner = winner;
        run.wishes = run.staged != 0;
        run.cas[usize::from(plan.anchor)] = anchor.cas();
        self.take_back(slot, After::Lost);
    }

    /// The call that this one makes way for after a lost commit, as the anchor says.
    fn winner(&self, slot: usize) -> Option<u8> {
        if self.has_bug(Bug::NoRightOfWay) {
            return None;
        }
        let anchor = &self.state.docs[usize::from(self.plan(slot).anchor)];
        let token = self.run(slot).token;
        let fence = anchor.fence.filter(|fence| fence.token == token);
        let stage = anchor.stage.filter(|stage| !self.goes_before(slot, stage.call, stage.attempt));
        let wish = anchor.wish.filter(|wish| *wish < self.place(slot)).map(|wish| wish.call);
        fence.map(|fence| fence.winner).or(stage.map(|stage| stage.call)).or(wish)
    }

    /// After a lost run has taken its stages back.
    fn has_lost(&mut self, slot: usize) {
        let found = self.run(slot).found;
        if found != Found::Unknown {
            return self.answer_found(slot, found);
        }
        let (place, run) = (self.place(slot), self.run(slot));
        let anchor = &self.state.docs[usize::from(self.plan(slot).anchor)];
        let is_news = anchor.there && anchor.wish.is_none_or(|wish| place < wish);
        if run.wishes && is_news && !self.has_bug(Bug::NoWish) {
            self.run_mut(slot).step = Step::LeaveWish;
        } else {
            self.wait_for_winner(slot);
        }
    }

    pub(super) fn wait_for_winner(&mut self, slot: usize) {
        match self.run(slot).winner {
            Some(winner) => self.run_mut(slot).step = Step::WaitForWinner(winner),
            None => self.start(slot),
        }
    }

    /// Does a conditional write in the store, if the document is still in the state that it names.
    pub(super) fn apply(&mut self, slot: usize, write: &Write) -> bool {
        let index = usize::from(write.doc);
        let matches = write.over == self.state.docs[index].cas();
        let is_roll_back = matches!(write.op, Op::Clear { how: Clear::Back, .. });
        if is_roll_back && self.has_bug(Bug::RollBackWithoutCas) {
            let body = self.run(slot).view[index];
            let doc = &mut self.state.docs[index];
            (doc.stage, doc.body) = (None, body);
            self.state.touch(write.doc);
            return true;
        }
        if !matches {
            return false;
        }
        let shared = self.has_bug(Bug::AttemptsShareAPlace);
        match write.op {
            Op::Stage(stage) => {
                let doc = &mut self.state.docs[index];
                doc.there = true;
                doc.stage = Some(stage);
                doc.wish.take_if(|wish| *wish <= stage.place(shared));
            }
            Op::Commit { slot, record, body } => self.commit(usize::from(slot), record, body),
            Op::Clear { token, how } => self.clear(write.doc, token, how),
            Op::Wish { place } => self.state.docs[index].wish = Some(place),
            Op::Fence { fence, loser } => {
                let client = usize::from(self.model.config.calls[usize::from(loser)].client);
                let leaves_entry = !self.has_bug(Bug::FenceLeavesNoEntry);
                let doc = &mut self.state.docs[index];
                doc.there = true;
                doc.fence = Some(fence);
                doc.entries[client].known |= leaves_entry;
            }
        }
        self.state.touch(write.doc);
        true
    }

    /// The commit point, and what becomes true by it.
    fn commit(&mut self, slot: usize, record: Record, body: Option<super::state::Body>) {
        self.check_stages(slot, &record);
        self.write_record(slot, record, body);
        let (call, plan) = (self.call(slot), self.plan(slot));
        let known = &mut self.state.calls[usize::from(call)];
        known.recorded.get_or_insert(record.outcome);
        let Outcome::Success(view) = record.outcome else { return };
        if record.token.is_none() {
            return;
        }
        known.applied += 1;
        let held = plan.reads.iter().all(|doc| {
            let doc = usize::from(*doc);
            view[doc] == self.state.truth[doc]
        });
        if !held {
            self.break_rule(Broken::StaleCommit);
        }
        for effect in plan.writes {
            let body = &mut self.state.truth[usize::from(effect.doc())];
            *body = match effect {
                Effect::Put(_) => append(*body, usize::from(call)),
                Effect::Delete(_) => 0,
            };
        }
    }

    /// A record decides about the stages of its own run alone: they name the state of the anchor
    /// that it replaces.
    fn check_stages(&mut self, slot: usize, record: &Record) {
        let anchor = self.plan(slot).anchor;
        let is_own = |doc: &super::state::Doc| {
            let decided = doc.stage.filter(|stage| Some(stage.token) == record.token);
            let over = self.state.docs[usize::from(anchor)].cas();
            decided.is_none_or(|stage| stage.anchor == anchor && stage.anchor_cas == over)
        };
        if !self.state.docs.iter().all(is_own) {
            self.break_rule(Broken::ForeignStageDecided);
        }
    }
}
