//! One step of the world: what a run does next, and how its writes end.

use std::cmp::Reverse;

use super::action::How;
use super::machine::Protocol;
use super::plan::{Bug, CallPlan};
use super::run::{After, Doubt, Run, Step};
use super::state::{
    Answer, Broken, Cas, Clear, NO_TOKEN, Op, Outcome, Place, RUNS, State, Token, Write, has,
};

/// A world that is about to take one step.
pub(super) struct Turn<'a> {
    pub(super) model: &'a Protocol,
    pub(super) state: State,
}

/// What became of a conditional write, as its run sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    Lost,
    /// The store refused it: it did not happen.
    Unavailable,
}

impl Turn<'_> {
    /// Does the next step of the run in `slot`. `None`: that changes nothing.
    pub(super) fn go(mut self, slot: usize, step: Step, how: How) -> Option<State> {
        if step.is_write() && self.run(slot).doubt != Doubt::Reread {
            self.write(slot, step, how);
            return Some(self.state);
        }
        if step.is_write() {
            self.settle(slot, step);
            return Some(self.state);
        }
        match step {
            Step::LookUp => self.look_up(slot),
            Step::Load(doc) => self.load(slot, doc),
            Step::AskAnchor(doc) => self.ask_anchor(slot, doc),
            Step::LoadAgain(doc) => self.load_again(slot, doc),
            Step::CheckSession => self.check_session(slot),
            Step::RecheckSession => self.recheck_session(slot),
            Step::Confirm(doc) => self.confirm(slot, doc),
            Step::ConfirmAsk(doc) => self.confirm_ask(slot, doc),
            Step::ConfirmAgain(doc) => self.confirm_again(slot, doc),
            Step::Lost => self.lost(slot),
            Step::WaitForWinner(_) => self.start(slot),
            Step::LetGoFirst(call) => self.has_let_go_first(slot, call),
            Step::MakeWay(doc) => self.make_way(slot, doc),
            Step::LookAgain(doc) => self.look_again(slot, doc),
            _ => return None,
        }
        Some(self.state)
    }

    pub(super) fn run(&self, slot: usize) -> &Run {
        &self.state.runs[slot]
    }

    pub(super) fn run_mut(&mut self, slot: usize) -> &mut Run {
        &mut self.state.runs[slot]
    }

    pub(super) fn plan(&self, slot: usize) -> &'static CallPlan {
        &self.model.config.calls[usize::from(self.call(slot))]
    }

    pub(super) fn call(&self, slot: usize) -> u8 {
        self.model.slots.runs[slot].0
    }

    pub(super) fn attempt(&self, slot: usize) -> u8 {
        self.model.slots.runs[slot].1
    }

    pub(super) fn place(&self, slot: usize) -> Place {
        let shared = self.has_bug(Bug::AttemptsShareAPlace);
        let attempt = if shared { 0 } else { self.attempt(slot) };
        Place { call: self.call(slot), attempt: Reverse(attempt) }
    }

    pub(super) fn has_bug(&self, bug: Bug) -> bool {
        self.model.config.bug == Some(bug)
    }

    /// Begins a run of the business under a fresh token.
    pub(super) fn start(&mut self, slot: usize) {
        let kept = *self.run(slot);
        let reuses = kept.aborting && self.has_bug(Bug::AbortedRecordWithToken);
        *self.run_mut(slot) = Run {
            watermark: kept.watermark,
            incarnation: kept.incarnation,
            aborting: kept.aborting,
            passed: kept.passed,
            late: kept.late,
            token: NO_TOKEN,
            ..Run::default()
        };
        let token = if reuses && kept.token != NO_TOKEN { kept.token } else { self.fresh(slot) };
        let first = self.plan(slot).reads.first().copied();
        let run = self.run_mut(slot);
        run.token = token;
        run.step = match first {
            Some(doc) if !run.aborting => Step::Load(doc),
            _ => Step::CheckSession,
        };
        self.skip_session_check(slot);
    }

    /// A token of this slot that nothing in the world carries.
    fn fresh(&self, slot: usize) -> Token {
        if self.has_bug(Bug::TokenReused) {
            return self.call(slot);
        }
        let first = slot as Token * 16;
        let is_free = |token: &Token| {
            let on_doc = self.state.docs.iter().any(|doc| {
                doc.stage.is_some_and(|stage| stage.token == *token)
                    || doc.fence.is_some_and(|fence| fence.token == *token)
                    || doc.records.iter().flatten().any(|record| record.token == Some(*token))
            });
            let held = self.state.runs.iter().any(|run| {
                let obstacle = run.obstacle.is_some_and(|found| found.token == *token);
                let late = run.late.is_some_and(|write| write.op.carries(*token));
                let cleared = match run.step {
                    Step::ClearMet(..) | Step::ClearForWay(..) => run.clears == *token,
                    _ => false,
                };
                obstacle || late || cleared
            });
            !on_doc && !held
        };
        (first..first + 16).find(is_free).expect("a slot has few tokens in the world at once")
    }

    /// Tries a write that has not been tried, or that is tried again over the same state.
    fn write(&mut self, slot: usize, step: Step, how: How) {
        let write = self.write_of(slot, step);
        self.run_mut(slot).step = step;
        let in_doubt = self.run(slot).doubt == Doubt::Rewrite;
        match how {
            How::Plainly => {
                if self.apply(slot, &write) {
                    self.finish(slot, step, Written::Done);
                } else if in_doubt && !self.has_bug(Bug::MismatchAfterDoubtIsFailure) {
                    self.run_mut(slot).doubt = Doubt::Reread;
                } else {
                    self.finish(slot, step, Written::Lost);
                }
                return;
            }
            How::Unavailable => {
                self.state.left.unavailable -= 1;
                self.finish(slot, step, Written::Unavailable);
                return;
            }
            How::AmbiguousDone => {
                self.state.left.ambiguous -= 1;
                self.apply(slot, &write);
            }
            How::AmbiguousNotDone => self.state.left.ambiguous -= 1,
            How::AmbiguousLate => {
                self.state.left.ambiguous -= 1;
                self.state.left.late -= 1;
                self.run_mut(slot).late = Some(write);
            }
        }
        if step == Step::WriteAnchor && self.has_bug(Bug::RestartAfterAmbiguousCommit) {
            self.run_mut(slot).doubt = Doubt::None;
            self.take_back(slot, After::StartOver);
            return;
        }
        let blind = self.has_bug(Bug::MismatchAfterDoubtIsFailure);
        self.run_mut(slot).doubt = if blind { Doubt::Rewrite } else { Doubt::Reread };
    }

    /// Reads the state again after an ambiguous write.
    fn settle(&mut self, slot: usize, step: Step) {
        let write = self.write_of(slot, step);
        if self.is_ours(&write) {
            self.finish(slot, step, Written::Done);
        } else if write.over != self.state.docs[usize::from(write.doc)].cas()
            || self.is_not_tried_again(&write)
        {
            self.finish(slot, step, Written::Lost);
        } else {
            self.run_mut(slot).doubt = Doubt::Rewrite;
        }
    }

    /// A stage that would create its document counts as lost if it is not to be seen: absence comes
    /// back.
    fn is_not_tried_again(&self, write: &Write) -> bool {
        let creates = matches!(write.op, Op::Stage(_)) && write.over == Cas::Absent;
        creates && !self.has_bug(Bug::LateStageTriedAgain)
    }

    /// Whether the document is as this write makes it.
    fn is_ours(&self, write: &Write) -> bool {
        let doc = &self.state.docs[usize::from(write.doc)];
        match write.op {
            Op::Stage(stage) => doc.stage.is_some_and(|found| found.token == stage.token),
            Op::Clear { token, .. } => doc.stage.is_none_or(|found| found.token != token),
            Op::Fence { fence, .. } => doc.fence.is_some_and(|found| found.token == fence.token),
            Op::Wish { place } => doc.wish == Some(place),
            Op::Commit { slot, record, .. } => {
                let call = self.call(usize::from(slot));
                doc.records[usize::from(call)].is_some_and(|found| {
                    found.token == record.token
                        && (record.token.is_some()
                            || found.outcome == record.outcome
                            || self.has_bug(Bug::AnyTokenlessRecordIsOurs))
                })
            }
        }
    }

    /// The write that a step consists of.
    pub(super) fn write_of(&self, slot: usize, step: Step) -> Write {
        let run = self.run(slot);
        let over = |doc: u8| run.cas[usize::from(doc)];
        match step {
            Step::Stage(doc) => {
                Write { doc, over: over(doc), op: Op::Stage(self.stage_of(slot, doc)) }
            }
            Step::WriteAnchor => self.commit_of(slot),
            Step::TakeBack(doc) => {
                let op = Op::Clear { token: run.token, how: Clear::Back };
                Write { doc, over: over(doc), op }
            }
            Step::Unstage(doc) => {
                let op = Op::Clear { token: run.token, how: Clear::Forward };
                Write { doc, over: over(doc), op }
            }
            Step::ClearMet(doc, how) | Step::ClearForWay(doc, how) => {
                Write { doc, over: over(doc), op: Op::Clear { token: run.clears, how } }
            }
            Step::Fence(_) => self.fence_of(slot),
            Step::LeaveWish => {
                let doc = self.plan(slot).anchor;
                Write { doc, over: over(doc), op: Op::Wish { place: self.place(slot) } }
            }
            other => unreachable!("{other:?} writes nothing"),
        }
    }

    /// What follows a write, once the run knows how it ended.
    fn finish(&mut self, slot: usize, step: Step, written: Written) {
        self.run_mut(slot).doubt = Doubt::None;
        match step {
            Step::ClearMet(doc, _) => self.run_mut(slot).step = Step::Load(doc),
            Step::Stage(doc) => self.staged(slot, doc, written),
            Step::WriteAnchor => self.wrote_anchor(slot, written),
            Step::TakeBack(doc) => self.took_back(slot, doc, written),
            Step::Unstage(doc) => self.unstaged(slot, doc, written),
            Step::Fence(doc) => {
                let run = self.run_mut(slot);
                run.fenced = true;
                run.step = Step::LookAgain(doc);
            }
            Step::LeaveWish => self.wait_for_winner(slot),
            Step::ClearForWay(..) => self.start(slot),
            other => unreachable!("{other:?} writes nothing"),
        }
    }

    /// The run has an outcome.
    pub(super) fn answer(&mut self, slot: usize, answer: Answer) {
        let call = usize::from(self.call(slot));
        if let Answer::Committed(outcome) = answer
            && self.state.calls[call].recorded != Some(outcome)
        {
            self.break_rule(Broken::TwoOutcomes);
        }
        Turn::note_truth(&mut self.state, self.model);
        let is_true = self.run(slot).was_true;
        if matches!(answer, Answer::Tentative(_)) && !is_true {
            self.break_rule(Broken::TornOutcome);
        }
        let run = self.run_mut(slot);
        run.answer = Some(answer);
        if run.staged == 0 || !matches!(answer, Answer::Committed(Outcome::Success(_))) {
            self.end(slot);
        }
    }

    /// Nothing of the run matters any more but its answer.
    pub(super) fn end(&mut self, slot: usize) {
        let run = self.run_mut(slot);
        *run = run.over(Step::Ended);
    }

    pub(super) fn break_rule(&mut self, broken: Broken) {
        self.state.broken.get_or_insert(broken);
    }

    /// Notes for every run whether all that it has read is true together at this moment.
    pub(super) fn note_truth(state: &mut State, model: &Protocol) {
        for slot in 0..model.slots.runs.len() {
            let plan = &model.config.calls[usize::from(model.slots.runs[slot].0)];
            let run = &mut state.runs[slot];
            if run.was_true || !run.is_running() || run.aborting {
                continue;
            }
            let holds = |doc: &u8| {
                let doc = usize::from(*doc);
                run.cas[doc] != Cas::Unread && run.view[doc] == state.truth[doc]
            };
            run.was_true = plan.reads.iter().all(holds);
        }
    }
}

impl Op {
    fn carries(&self, token: Token) -> bool {
        match self {
            Op::Stage(stage) => stage.token == token,
            Op::Commit { record, .. } => record.token == Some(token),
            Op::Clear { token: cleared, .. } => *cleared == token,
            Op::Fence { fence, .. } => fence.token == token,
            Op::Wish { .. } => false,
        }
    }
}

const _: () = assert!(RUNS * 16 <= NO_TOKEN as usize, "tokens have their own numbers");

/// The runs whose documents are still to be looked at, lowest first.
pub(super) fn lowest(set: u8) -> Option<u8> {
    (0..8).find(|member| has(set, *member))
}
