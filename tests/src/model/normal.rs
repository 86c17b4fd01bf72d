//! One form for states that cannot be told apart: what no step will ever look at again is wiped out.
//!
//! This only merges states that go on alike, so it loses nothing. A bug that looks where the
//! protocol does not turns it off.

use super::machine::Protocol;
use super::plan::{Bug, CallPlan, Refuses};
use super::run::{After, Doubt, Found, Run, Step};
use super::state::{Call, Cas, Change, Fate, NO_TOKEN, Set, State, has};

pub(super) fn normalise(model: &Protocol, state: &mut State) {
    let looks_back = matches!(
        model.config.bug,
        Some(
            Bug::RollBackWithoutCas
                | Bug::TokenReused
                | Bug::AnchorCasRefreshed
                | Bug::AbortedRecordWithToken
        )
    );
    for slot in 0..model.slots.runs.len() {
        let (call, _) = model.slots.runs[slot];
        // Answers to a call that is over change nothing.
        if state.calls[usize::from(call)].told.is_some() {
            state.runs[slot].answer = None;
        }
        if !looks_back {
            let plan = &model.config.calls[usize::from(call)];
            let always_writes = matches!(plan.refuses, Refuses::Never) && !plan.writes.is_empty();
            wipe(&mut state.runs[slot], usize::from(plan.anchor), always_writes);
        }
    }
    forget_fences(state);
    forget_faults(model, state);
    for doc in 0..state.docs.len() {
        let Some(stage) = state.docs[doc].stage else { continue };
        if stage.anchor_cas == Cas::Gone && state.fate_of(&stage) == Fate::Lost {
            let lost = super::state::Stage { change: Change::Guard, ..stage };
            state.docs[doc].stage = Some(lost);
        }
    }
}

/// What the steps to come will not look at.
fn wipe(run: &mut Run, anchor: usize, always_writes: bool) {
    if always_writes {
        run.was_true = false;
    }
    match run.step {
        Step::Lost => keep(run, run.staged, true),
        Step::LeaveWish => keep(run, 1 << anchor, false),
        Step::WaitForWinner(_) => {
            keep(run, 0, false);
            run.winner = None;
        }
        Step::MakeWay(doc)
        | Step::Patience(doc)
        | Step::Fence(doc)
        | Step::LookAgain(doc)
        | Step::ClearForWay(doc, _) => keep(run, 1 << doc, false),
        Step::TakeBack(_) => {
            let met = match run.after {
                Some(After::MakeWay(doc)) => 1 << doc,
                _ => 0,
            };
            let (found, lost) = (run.found, run.after == Some(After::Lost));
            let mine = if lost { 1 << anchor } else { 0 };
            keep(run, run.staged | met | mine, true);
            if lost {
                run.found = found;
            }
        }
        Step::Unstage(_) => keep(run, run.staged, true),
        Step::StageAll | Step::Stage(_) | Step::RecheckSession | Step::WriteAnchor
            if always_writes
                && !run.aborting
                && run.doubt == Doubt::None
                && run.cas[anchor] == Cas::Gone =>
        {
            // Whatever it writes is lost.
            run.view = Default::default();
        }
        _ => {}
    }
}

/// Keeps the states of `docs`, and the token if stages or fences may name it.
fn keep(run: &mut Run, docs: Set, token: bool) {
    run.view = Default::default();
    run.found = Found::Unknown;
    run.occupied = 0;
    run.older = 0;
    run.tried = 0;
    run.was_true = false;
    for (doc, cas) in run.cas.iter_mut().enumerate() {
        if !has(docs, doc as u8) {
            *cas = Cas::Unread;
        }
    }
    if !token {
        run.token = NO_TOKEN;
        run.after = None;
        run.wishes = false;
    }
}

/// A fence says something only to the run that it stopped, and to whoever is in doubt about it.
fn forget_fences(state: &mut State) {
    let runs = state.runs;
    for doc in &mut state.docs {
        doc.fence.take_if(|fence| {
            !runs.iter().any(|run| {
                run.token == fence.token
                    || run.obstacle.is_some_and(|found| found.token == fence.token)
            })
        });
    }
}

/// Faults that nothing is left to strike.
fn forget_faults(model: &Protocol, state: &mut State) {
    let calls = model.config.calls.iter().zip(&state.calls);
    let mut unsent = calls.filter(|(plan, call)| call.told.is_none() && call.sent < plan.attempts);
    let is_again = |(plan, _): &(&CallPlan, &Call)| plan.attempts > 1;
    let (may_send, may_send_again) =
        (unsent.clone().next().is_some(), unsent.any(|one| is_again(&one)));
    let runs = may_send || state.runs.iter().any(Run::is_running);
    let answers = runs || state.runs.iter().any(|run| run.answer.is_some());
    let left = &mut state.left;
    let keep = |fault: &mut u8, is_possible: bool| *fault = if is_possible { *fault } else { 0 };
    keep(&mut left.early, may_send_again);
    keep(&mut left.crashes, runs);
    keep(&mut left.ambiguous, runs);
    keep(&mut left.unavailable, runs);
    keep(&mut left.deadlines, runs);
    keep(&mut left.lost, answers);
    // A late write is one that was ambiguous.
    left.late = left.late.min(left.ambiguous);
}
