//! One attempt of one call on one server: how far it has come, and what it holds.

use std::hash::{Hash, Hasher};

use super::state::{Answer, Cas, Clear, DOCS, NO_TOKEN, Outcome, Set, Stage, Token, View, Write};

/// One attempt of one call on one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) step: Step,
    pub(super) watermark: u8,
    /// The client's life that has sent it.
    pub(super) incarnation: u8,
    pub(super) token: Token,
    /// It is to be ended by an aborted record.
    pub(super) aborting: bool,
    pub(super) cas: [Cas; DOCS],
    pub(super) view: View,
    /// Documents that carried an undecided stage when they were read.
    pub(super) occupied: Set,
    pub(super) found: Found,
    /// Calls whose wishes it has read and that go before it.
    pub(super) older: Set,
    /// Calls that it has waited for: not for a second time.
    pub(super) passed: Set,
    /// The call to wait for after a lost commit.
    pub(super) winner: Option<u8>,
    /// It had placed stages when it lost its anchor.
    pub(super) wishes: bool,
    /// It has fenced the run that is in its way.
    pub(super) fenced: bool,
    /// All that was read was true at one moment.
    pub(super) was_true: bool,
    pub(super) tried: Set,
    pub(super) staged: Set,
    pub(super) after: Option<After>,
    pub(super) doubt: Doubt,
    pub(super) obstacle: Option<Obstacle>,
    /// The run whose decided stage it is about to clear.
    pub(super) clears: Token,
    /// The document that is being confirmed, in the state in which its stage was met.
    pub(super) seen_again: Cas,
    /// A write that the store has not got to yet.
    pub(super) late: Option<Write>,
    /// On its way to the client.
    pub(super) answer: Option<Answer>,
}

/// What the anchor said of the call when the run read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Found {
    #[default]
    Unknown,
    Recorded(Outcome),
    Stale,
    Fenced,
}

/// The next step of a run, named like the function of the code that does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Not sent yet.
    #[default]
    Idle,
    LookUp,
    Load(u8),
    /// `load_effective`: ask the anchor of the stage that was met on this document.
    AskAnchor(u8),
    /// `load_effective`: clear a decided stage.
    ClearMet(u8, Clear),
    /// `load_effective`: is the undecided stage still there?
    LoadAgain(u8),
    CheckSession,
    /// `let_older_go_first`: wait for the call whose wish was read.
    LetGoFirst(u8),
    Confirm(u8),
    ConfirmAsk(u8),
    /// `confirm`: is the stage that has lost still there?
    ConfirmAgain(u8),
    /// Documents that are to be staged are left.
    StageAll,
    Stage(u8),
    RecheckSession,
    WriteAnchor,
    TakeBack(u8),
    Unstage(u8),
    /// After the commit was lost: what does the anchor say now?
    Lost,
    /// After the stages are taken back: ask younger calls to leave the anchor to this one.
    LeaveWish,
    WaitForWinner(u8),
    MakeWay(u8),
    /// `make_way`: the stage is undecided; wait, or fence.
    Patience(u8),
    Fence(u8),
    LookAgain(u8),
    ClearForWay(u8, Clear),
    /// Nothing more to do.
    Ended,
    Crashed,
}

/// What follows when the stages of a lost run are taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum After {
    #[default]
    StartOver,
    MakeWay(u8),
    Lost,
    Refused,
}

/// How far an ambiguous write is from being settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Doubt {
    #[default]
    None,
    /// The state must be read before anything else.
    Reread,
    /// The write is tried again over the same state.
    Rewrite,
}

/// The stage that is in a run's way, and the state of its anchor when that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Obstacle {
    pub(super) anchor: u8,
    pub(super) cas: Cas,
    pub(super) client: u8,
    pub(super) call: u8,
    pub(super) attempt: u8,
    pub(super) token: Token,
    /// The state of the anchor that the stage names.
    pub(super) anchor_cas: Cas,
}

impl Obstacle {
    pub(super) fn of(stage: &Stage, cas: Cas) -> Obstacle {
        let Stage { anchor, anchor_cas, client, call, attempt, token, .. } = *stage;
        Obstacle { anchor, cas, client, call, attempt, token, anchor_cas }
    }
}

impl Default for Run {
    fn default() -> Run {
        Run {
            step: Step::Idle,
            watermark: 0,
            incarnation: 0,
            token: NO_TOKEN,
            aborting: false,
            cas: [Cas::Unread; DOCS],
            view: [0; DOCS],
            occupied: 0,
            found: Found::Unknown,
            older: 0,
            passed: 0,
            winner: None,
            wishes: false,
            fenced: false,
            was_true: false,
            tried: 0,
            staged: 0,
            after: None,
            doubt: Doubt::None,
            obstacle: None,
            clears: NO_TOKEN,
            seen_again: Cas::Unread,
            late: None,
            answer: None,
        }
    }
}

/// Of a run that is not running there is little to tell, and most are not.
impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Run { step, incarnation, answer, late, .. } = self;
        (step, incarnation, answer, late).hash(state);
        if !self.is_running() {
            debug_assert_eq!(*self, self.over(*step), "nothing else is left of it");
            return;
        }
        let Run { watermark, token, aborting, cas, view, occupied, found, older, passed, .. } =
            self;
        (watermark, token, aborting, cas, view, occupied, found, older, passed).hash(state);
        let Run { winner, wishes, fenced, was_true, tried, staged, after, doubt, .. } = self;
        (winner, wishes, fenced, was_true, tried, staged, after, doubt).hash(state);
        let Run { obstacle, clears, seen_again, .. } = self;
        (obstacle, clears, seen_again).hash(state);
    }
}

impl Run {
    /// What is left of it when its server does nothing more for it.
    pub(super) fn over(&self, step: Step) -> Run {
        let Run { incarnation, answer, late, .. } = *self;
        Run { step, incarnation, answer, late, ..Run::default() }
    }

    /// Whether its server has done nothing for it yet, as far as one can see.
    pub(super) fn is_untouched(&self) -> bool {
        let nothing_read = self.cas.iter().all(|cas| *cas == Cas::Unread);
        let first = matches!(self.step, Step::LookUp | Step::Load(_) | Step::CheckSession);
        first && nothing_read && self.late.is_none()
    }

    /// Whether its server still works on it.
    pub(super) fn is_running(&self) -> bool {
        !matches!(self.step, Step::Idle | Step::Ended | Step::Crashed)
    }

    /// Whether an answer can still come of it.
    pub(super) fn can_answer(&self) -> bool {
        self.answer.is_some() || (self.is_running() && !matches!(self.step, Step::Unstage(_)))
    }
}

impl Step {
    /// Whether it is a conditional write, which may end ambiguously.
    pub(super) fn is_write(self) -> bool {
        matches!(
            self,
            Step::Stage(_)
                | Step::WriteAnchor
                | Step::TakeBack(_)
                | Step::Unstage(_)
                | Step::Fence(_)
                | Step::LeaveWish
                | Step::ClearMet(..)
                | Step::ClearForWay(..)
        )
    }
}
