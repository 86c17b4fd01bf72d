//! What can happen next, and its name.

use std::fmt;

use super::machine::Protocol;
use super::run::{Doubt, Step};
use super::state::{Cas, Clear, LeaseState, SERVERS, State};
use super::tidy::chores;
use super::turn::Turn;

/// One step of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The client sends an attempt.
    #[non_exhaustive]
    Send {
        /// Whose.
        slot: u8,
    },
    /// A run does its next step.
    #[non_exhaustive]
    Do {
        /// Whose.
        slot: u8,
        /// What.
        step: StepName,
        /// How a write ends.
        how: How,
    },
    /// The store gets to a write whose run has already heard that it is in doubt.
    #[non_exhaustive]
    Arrive {
        /// Whose.
        slot: u8,
    },
    /// The client gets an attempt's answer.
    #[non_exhaustive]
    Deliver {
        /// Whose.
        slot: u8,
    },
    /// A request or an answer gets lost.
    #[non_exhaustive]
    Lose {
        /// Whose.
        slot: u8,
    },
    /// A run is stopped, at its deadline or at its caller's wish, to be ended by an aborted record.
    #[non_exhaustive]
    Stop {
        /// Whose.
        slot: u8,
    },
    /// A server crashes, with all runs on it and all that it remembers.
    Crash(u8),
    /// A client is silent for so long that its lease ends.
    LeaseEnds(u8),
    /// Its session is closed, and the margin has passed.
    LeaseOver(u8),
    /// What need not be remembered is collected.
    Tidy(ChoreName),
}

/// A `Step` as part of a public action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepName(pub(super) Step);

/// A `Chore` as part of a public action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChoreName(pub(super) Chore);

/// What the janitor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Chore {
    /// Reads a document.
    Collect(u8),
    /// Clears a stage of a to-do list.
    Clear(u8, u8),
    /// Has seen all documents of a call's to-do list without its stage.
    SeeCleared(u8),
    /// Has seen that a session is over.
    SeeOver(u8),
    /// Takes out what can go.
    Write,
    /// Removes an empty document, whatever it remembers: only a bug does so.
    RemoveEmpty(u8),
}

/// How a step ends that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// As the store says.
    Plainly,
    /// It is done, and the answer leaves it open.
    AmbiguousDone,
    /// It is not done, and the answer leaves it open.
    AmbiguousNotDone,
    /// It is still on its way, and the answer leaves it open.
    AmbiguousLate,
    /// It is not done, and the answer says so.
    Unavailable,
}

/// All that can happen in a state.
pub(super) fn enabled(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    if state.broken.is_some() {
        return;
    }
    for slot in 0..model.slots.runs.len() {
        of_client(model, state, slot, actions);
        of_run(model, state, slot, actions);
    }
    let left = &state.left;
    for server in 0..SERVERS as u8 {
        if left.crashes > 0 && may_crash(model, state, usize::from(server)) {
            actions.push(Action::Crash(server));
        }
    }
    for (client, lease) in state.leases.iter().enumerate() {
        let client = client as u8;
        match lease {
            LeaseState::Lasts if left.leases > 0 => actions.push(Action::LeaseEnds(client)),
            LeaseState::Ended if margin_is_over(model, state, client) => {
                actions.push(Action::LeaseOver(client));
            }
            _ => {}
        }
    }
    let mut tidying = Vec::new();
    chores(model, state, &mut tidying);
    actions.extend(tidying.into_iter().map(|chore| Action::Tidy(ChoreName(chore))));
}

fn of_client(model: &Protocol, state: &State, slot: usize, actions: &mut Vec<Action>) {
    let (call, attempt) = model.slots.runs[slot];
    let plan = &model.config.calls[usize::from(call)];
    let known = &state.calls[usize::from(call)];
    let run = &state.runs[slot];
    let small = slot as u8;
    if attempt == known.sent + 1 && known.told.is_none() {
        let may_begin =
            plan.after.is_none_or(|after| state.calls[usize::from(after)].told.is_some());
        let previous = (attempt > 1).then(|| &state.runs[slot - 1]);
        let is_early = previous.is_some_and(|previous| previous.can_answer());
        if may_begin && (!is_early || state.left.early > 0) {
            actions.push(Action::Send { slot: small });
        }
    }
    if run.answer.is_some() {
        actions.push(Action::Deliver { slot: small });
    }
    let on_its_way = run.answer.is_some() || run.is_untouched();
    if state.left.lost > 0 && on_its_way && is_expendable(model, state, slot) {
        actions.push(Action::Lose { slot: small });
    }
    if run.late.is_some() {
        actions.push(Action::Arrive { slot: small });
    }
}

fn of_run(model: &Protocol, state: &State, slot: usize, actions: &mut Vec<Action>) {
    let run = &state.runs[slot];
    if !run.is_running() {
        return;
    }
    let turn = || Turn { model, state: *state };
    let small = slot as u8;
    let mut push = |step: Step, how: How| {
        actions.push(Action::Do { slot: small, step: StepName(step), how });
    };
    match run.step {
        Step::StageAll => {
            for doc in turn().to_stage(slot) {
                writes(&turn(), slot, Step::Stage(doc), &mut push);
            }
        }
        Step::Patience(doc) => {
            if turn().has_news(slot, doc) {
                push(Step::LookAgain(doc), How::Plainly);
            }
            writes(&turn(), slot, Step::Fence(doc), &mut push);
        }
        step if step.is_write() => writes(&turn(), slot, step, &mut push),
        step => push(step, How::Plainly),
    }
    let stops = !run.aborting
        && run.answer.is_none()
        && !matches!(run.step, Step::LookUp | Step::Unstage(_));
    if state.left.deadlines > 0 && stops {
        actions.push(Action::Stop { slot: small });
    }
}

/// A write, in all ways in which it can end.
fn writes(turn: &Turn<'_>, slot: usize, step: Step, push: &mut impl FnMut(Step, How)) {
    push(step, How::Plainly);
    let (run, left) = (turn.run(slot), &turn.state.left);
    if run.doubt == Doubt::Reread {
        return;
    }
    if left.ambiguous > 0 {
        let write = turn.write_of(slot, step);
        let would_be_done = write.over == turn.state.docs[usize::from(write.doc)].cas();
        if would_be_done {
            push(step, How::AmbiguousDone);
        }
        push(step, How::AmbiguousNotDone);
        if left.late > 0 && run.late.is_none() && would_be_done {
            push(step, How::AmbiguousLate);
        }
    }
    let refusable = matches!(step, Step::Stage(_) | Step::WriteAnchor);
    let spared = is_expendable(turn.model, &turn.state, slot) || others_refused(turn, slot);
    if left.unavailable > 0 && refusable && run.doubt == Doubt::None && spared {
        push(step, How::Unavailable);
    }
}

fn others_refused(turn: &Turn<'_>, slot: usize) -> bool {
    let call = &turn.state.calls[usize::from(turn.call(slot))];
    call.refused.count_ones() + 1 >= u32::from(call.sent)
}

/// Whether a run's answer may get lost and its call can still end: the last attempt always answers.
pub(super) fn is_expendable(model: &Protocol, state: &State, slot: usize) -> bool {
    let (call, attempt) = model.slots.runs[slot];
    let known = &state.calls[usize::from(call)];
    let unsent = known.sent < model.config.calls[usize::from(call)].attempts;
    known.told.is_some() || unsent || attempt < known.sent
}

fn may_crash(model: &Protocol, state: &State, server: usize) -> bool {
    let on_it = || {
        (0..model.slots.runs.len()).filter(|slot| {
            let (_, attempt) = model.slots.runs[*slot];
            model.server(attempt) == server && state.runs[*slot].is_running()
        })
    };
    on_it().next().is_some() && on_it().all(|slot| is_expendable(model, state, slot))
}

/// The one assumption about time: a write that creates a document is over within the margin of the
/// look at the lease that came before it. A write over a document that is there needs no clock.
fn margin_is_over(model: &Protocol, state: &State, client: u8) -> bool {
    !(0..model.slots.runs.len()).any(|slot| {
        let (call, _) = model.slots.runs[slot];
        let plan = &model.config.calls[usize::from(call)];
        let run = &state.runs[slot];
        let creates = run.cas[usize::from(plan.anchor)] == Cas::Absent;
        let late = run.late.is_some_and(|write| write.over == Cas::Absent);
        plan.client == client && ((run.step == Step::WriteAnchor && creates) || late)
    })
}

/// Whether an action is a fault, or comes earlier than it would without one. What is left must lead
/// to the end from everywhere.
pub(super) fn is_fault(model: &Protocol, state: &State, action: &Action) -> bool {
    match action {
        Action::Send { slot } => {
            let (_, attempt) = model.slots.runs[usize::from(*slot)];
            attempt > 1 && state.runs[usize::from(*slot) - 1].can_answer()
        }
        Action::Do { slot, step, how } => {
            let slot = usize::from(*slot);
            let waits =
                matches!(step.0, Step::Fence(_) | Step::WaitForWinner(_) | Step::LetGoFirst(_))
                    && state.runs[slot].doubt == Doubt::None;
            *how != How::Plainly || (waits && is_too_early(model, state, slot))
        }
        Action::Lose { .. } | Action::Stop { .. } | Action::Crash(_) | Action::LeaseEnds(_) => true,
        Action::Tidy(ChoreName(Chore::Collect(doc))) => is_fought_over(state, *doc),
        Action::Arrive { .. } | Action::Deliver { .. } | Action::LeaseOver(_) | Action::Tidy(_) => {
            false
        }
    }
}

/// Whether some run is getting a stage out of its way that has this anchor. A document is collected
/// now and then, not again and again between a fence and the look that follows it.
fn is_fought_over(state: &State, anchor: u8) -> bool {
    state.runs.iter().any(|run| match run.step {
        Step::MakeWay(doc) | Step::Patience(doc) | Step::Fence(doc) | Step::LookAgain(doc) => {
            let stage = state.docs[usize::from(doc)].stage;
            stage.is_some_and(|stage| stage.anchor == anchor)
        }
        _ => false,
    })
}

/// Whether a wait would not have ended yet: a run with the right of way fences soon, all others
/// give those that go on time to finish.
fn is_too_early(model: &Protocol, state: &State, slot: usize) -> bool {
    let turn = Turn { model, state: *state };
    let first = state.runs[slot]
        .obstacle
        .is_some_and(|found| turn.goes_before(slot, found.call, found.attempt));
    !first && !Turn::is_overdue(state, model, slot)
}

impl Action {
    /// What kind of step it is, for counting: named like the function of the code.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Action::Send { .. } => "send",
            Action::Do { how: How::AmbiguousDone, .. } => "ambiguous, done",
            Action::Do { how: How::AmbiguousNotDone, .. } => "ambiguous, not done",
            Action::Do { how: How::AmbiguousLate, .. } => "ambiguous, late",
            Action::Do { how: How::Unavailable, .. } => "unavailable",
            Action::Do { step, .. } => step.0.kind(),
            Action::Arrive { .. } => "late write arrives",
            Action::Deliver { .. } => "deliver",
            Action::Lose { .. } => "lose",
            Action::Stop { .. } => "stop",
            Action::Crash(_) => "crash",
            Action::LeaseEnds(_) => "lease ends",
            Action::LeaseOver(_) => "session is over",
            Action::Tidy(chore) => chore.0.kind(),
        }
    }
}

impl Step {
    fn kind(self) -> &'static str {
        match self {
            Step::LookUp => "look_up",
            Step::Load(_) => "load_effective",
            Step::AskAnchor(_) => "load_effective: ask",
            Step::ClearMet(_, Clear::Forward) => "load_effective: clear_stage, won",
            Step::ClearMet(..) => "load_effective: clear_stage, lost",
            Step::LoadAgain(_) => "load_effective: again",
            Step::CheckSession => "check_session",
            Step::RecheckSession => "check_session again",
            Step::Confirm(_) => "confirm",
            Step::ConfirmAsk(_) => "confirm: ask",
            Step::ConfirmAgain(_) => "confirm: again",
            Step::Stage(_) => "stage",
            Step::WriteAnchor => "write_anchor",
            Step::TakeBack(_) => "take_back",
            Step::Unstage(_) => "unstage",
            Step::Lost => "lost",
            Step::WaitForWinner(_) => "wait_for_winner",
            Step::LeaveWish => "leave_wish",
            Step::LetGoFirst(_) => "let_older_go_first",
            Step::MakeWay(_) => "make_way",
            Step::Fence(_) => "fence",
            Step::LookAgain(_) => "make_way: again",
            Step::ClearForWay(_, Clear::Forward) => "make_way: clear_stage, won",
            Step::ClearForWay(..) => "make_way: clear_stage, lost",
            Step::Idle | Step::StageAll | Step::Patience(_) | Step::Ended | Step::Crashed => "none",
        }
    }
}

impl Chore {
    fn kind(self) -> &'static str {
        match self {
            Chore::Collect(_) => "collect",
            Chore::Clear(..) => "look_after: clear_stage",
            Chore::SeeCleared(_) => "look_after: cleared",
            Chore::SeeOver(_) => "is_over",
            Chore::Write => "collect: write",
            Chore::RemoveEmpty(_) => "remove early",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Plainly => "",
            How::AmbiguousDone => ", ambiguous: done",
            How::AmbiguousNotDone => ", ambiguous: not done",
            How::AmbiguousLate => ", ambiguous: still on its way",
            How::Unavailable => ", unavailable",
        })
    }
}
