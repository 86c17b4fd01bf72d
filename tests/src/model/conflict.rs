//! Who meets a stage: roll forward, roll back, wait, fence.

use super::plan::Bug;
use super::run::{Obstacle, Run, Step};
use super::state::{
    Cas, Clear, Doc, Fate, Fence, Op, Outcome, Stage, State, Token, Write, members,
};
use super::turn::Turn;

impl Turn<'_> {
    /// Asks the anchor of the stage that is in the way.
    pub(super) fn make_way(&mut self, slot: usize, doc: u8) {
        let changed = self.run(slot).cas[usize::from(doc)] != Cas::Current;
        let stage = self.state.docs[usize::from(doc)].stage;
        let Some(stage) = stage.filter(|_| !changed) else { return self.start(slot) };
        let fate = match self.state.fate_of(&stage) {
            Fate::Undecided
                if self.has_bug(Bug::StageRemovedWithoutDeciding)
                    || self.has_bug(Bug::UndecidedTakenForLost) =>
            {
                Fate::Lost
            }
            fate => fate,
        };
        let fate = if fate == Fate::Undecided && self.is_taken_for_lost(&stage) {
            Fate::Lost
        } else {
            fate
        };
        let cas = self.state.docs[usize::from(stage.anchor)].cas();
        let run = self.run_mut(slot);
        if fate != Fate::Undecided {
            let lost = if run.fenced { Clear::Abandoned } else { Clear::Back };
            run.clears = stage.token;
            let how = if fate == Fate::Won { Clear::Forward } else { lost };
            run.step = Step::ClearForWay(doc, how);
            return;
        }
        run.obstacle = Some(Obstacle::of(&stage, cas));
        run.step = Step::Patience(doc);
    }

    /// What a rule left out makes of a stage whose run may still find its anchor absent.
    pub(super) fn is_taken_for_lost(&self, stage: &Stage) -> bool {
        let anchor = &self.state.docs[usize::from(stage.anchor)];
        self.has_bug(Bug::PresenceTakenForLoss) && stage.anchor_cas != anchor.cas()
    }

    /// Whether a look at the document after a pause would find anything new.
    pub(super) fn has_news(&self, slot: usize, doc: u8) -> bool {
        let run = self.run(slot);
        let obstacle = run.obstacle.expect("patience is with an obstacle");
        run.cas[usize::from(doc)] != Cas::Current
            || obstacle.cas != self.state.docs[usize::from(obstacle.anchor)].cas()
    }

    pub(super) fn look_again(&mut self, slot: usize, doc: u8) {
        self.run_mut(slot).obstacle = None;
        if self.run(slot).cas[usize::from(doc)] == Cas::Current {
            self.run_mut(slot).step = Step::MakeWay(doc);
        } else {
            self.start(slot);
        }
    }

    pub(super) fn fence_of(&self, slot: usize) -> Write {
        let obstacle = self.run(slot).obstacle.expect("a fence is against an obstacle");
        let fence = Fence { token: obstacle.token, winner: self.call(slot) };
        let op = Op::Fence { fence, loser: obstacle.call };
        Write { doc: obstacle.anchor, over: obstacle.cas, op }
    }

    /// The one order of conflicts: the older call, then the later attempt of one call.
    pub(super) fn goes_before(&self, slot: usize, call: u8, attempt: u8) -> bool {
        if self.has_bug(Bug::NoRightOfWay) {
            return true;
        }
        let own = self.call(slot);
        if own == call { self.attempt(slot) >= attempt } else { own < call }
    }

    /// Makes a decided stage a body, or nothing.
    pub(super) fn clear(&mut self, doc: u8, token: Token, how: Clear) {
        let wishes = !self.has_bug(Bug::NoWish);
        let shared = self.has_bug(Bug::AttemptsShareAPlace);
        let wish_goes = self.has_bug(Bug::WishGoesWithDocument);
        let found = &mut self.state.docs[usize::from(doc)];
        let Some(stage) = found.stage.take_if(|stage| stage.token == token) else { return };
        let own = stage.place(shared);
        found.wish.take_if(|wish| match how {
            Clear::Forward => wish.call == stage.call,
            Clear::Back | Clear::Abandoned => *wish == own,
        });
        if how == Clear::Back && wishes && found.wish.is_none_or(|other| own < other) {
            found.wish = Some(own);
        }
        if how == Clear::Forward {
            found.body = stage.body_after(found.body);
        }
        if found.is_void() || (wish_goes && Doc { wish: None, ..*found }.is_void()) {
            *found = Doc::default();
        }
    }

    /// Whether a call's anchor knows that it is over.
    pub(super) fn has_ended(&self, call: u8) -> bool {
        let plan = &self.model.config.calls[usize::from(call)];
        let anchor = &self.state.docs[usize::from(plan.anchor)];
        let acknowledged = plan.seq < anchor.entries[usize::from(plan.client)].watermark;
        acknowledged || anchor.records[usize::from(call)].is_some()
    }

    /// Lets an older call go first whose wish this run has read, or a later attempt of its own; goes
    /// on at once if there is none, or it is over, or it was waited for before.
    pub(super) fn let_older_go_first(&mut self, slot: usize) {
        let run = self.run(slot);
        let waits = run.older & !run.passed;
        let next = members(waits).find(|call| !run.aborting && !self.has_ended(*call));
        match next {
            Some(call) => self.run_mut(slot).step = Step::LetGoFirst(call),
            None => self.at_the_anchor(slot),
        }
    }

    /// What was read before the wait is old.
    pub(super) fn has_let_go_first(&mut self, slot: usize, call: u8) {
        self.run_mut(slot).passed |= 1 << call;
        self.start(slot);
    }

    /// Whether giving up a wait, or fencing a run that has the right of way, is only a question of
    /// time: the one that is waited for will not go on.
    pub(super) fn is_overdue(state: &State, model: &super::machine::Protocol, slot: usize) -> bool {
        let run = &state.runs[slot];
        match run.step {
            Step::Patience(_) => {
                let Some(obstacle) = run.obstacle else { return true };
                !state.runs.iter().any(|other| {
                    other.is_running() && other.token == obstacle.token && !other.aborting
                })
            }
            Step::WaitForWinner(other) | Step::LetGoFirst(other) => {
                let goes_on = |(at, run): (usize, &Run)| {
                    let waits = matches!(run.step, Step::WaitForWinner(_) | Step::LetGoFirst(_));
                    at != slot && model.slots.runs[at].0 == other && run.is_running() && !waits
                };
                let turn = Turn { model, state: *state };
                let runs = state.runs.iter().enumerate().take(model.slots.runs.len());
                turn.has_ended(other) || !runs.into_iter().any(goes_on)
            }
            _ => true,
        }
    }
}

impl Outcome {
    /// Whether the call has changed documents, if it was to change any.
    pub(super) fn is_success(self) -> bool {
        matches!(self, Outcome::Success(_))
    }
}
