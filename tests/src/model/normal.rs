//! One form for states that cannot be told apart: what no step will ever look at again is wiped out.
//!
//! This only merges states that go on alike, so it loses nothing. A bug that looks where the
//! protocol does not turns it off.

use super::machine::Protocol;
use super::plan::{Bug, CallPlan, Refuses};
use super::run::{After, Doubt, Found, Run, Step};
use super::state::{Call, Cas, Change, Fate, NO_TOKEN, Op, RUNS, Set, State, Token, has};
use super::turn::Turn;

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
            skip_ahead(model, state, slot);
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
    if !looks_back && model.merges {
        forget_cleared(model, state);
        rename_tokens(state);
    }
}

/// Does at once what a run does next, where nothing that others do can make a difference: it has read
/// a state that is gone, and so will find out, whenever it looks.
fn skip_ahead(model: &Protocol, state: &mut State, slot: usize) {
    let run = &mut state.runs[slot];
    if !model.merges {
        return;
    }
    if !run.is_running() && run.step != Step::Idle {
        // Whether it has ended or crashed, only its answer is left.
        run.step = Step::Ended;
        if run.answer.is_none() && run.late.is_none() {
            run.incarnation = 0;
        }
    }
    if !matches!(run.step, Step::ClearMet(..) | Step::ClearForWay(..)) {
        run.clears = NO_TOKEN;
    }
    let (Step::AskAnchor(doc)
    | Step::LoadAgain(doc)
    | Step::ClearMet(doc, _)
    | Step::MakeWay(doc)
    | Step::ClearForWay(doc, _)) = run.step
    else {
        return;
    };
    let is_sure = run.doubt == Doubt::None && run.late.is_none();
    if run.cas[usize::from(doc)] != Cas::Gone || !is_sure {
        return;
    }
    let starts_over = matches!(run.step, Step::MakeWay(_) | Step::ClearForWay(..));
    if starts_over {
        let mut turn = Turn { model, state: *state };
        turn.start(slot);
        *state = turn.state;
    } else if model.config.bug != Some(Bug::ReadNotRepeated) {
        run.step = Step::Load(doc);
        run.clears = NO_TOKEN;
        run.view[usize::from(doc)] = 0;
        run.was_true = false;
    }
}

/// What a server remembers of stages that it has cleared matters to the commits that are made there.
fn forget_cleared(model: &Protocol, state: &mut State) {
    for server in 0..state.cleared.len() {
        let commits = |(slot, (call, attempt)): (usize, &(u8, u8))| {
            let run = &state.runs[slot];
            let may_come = run.step == Step::Idle
                && state.calls[usize::from(*call)].told.is_none()
                && state.calls[usize::from(*call)].sent < *attempt;
            model.server(*attempt) == server && (may_come || run.is_running() || run.late.is_some())
        };
        if !model.slots.runs.iter().enumerate().any(commits) {
            state.cleared[server] = 0;
        }
    }
}

/// Tokens are only ever compared for being the same: each slot's are numbered as they are met.
fn rename_tokens(state: &mut State) {
    let mut names = [NO_TOKEN; RUNS * 16];
    let mut given = [0; RUNS];
    let mut rename = |token: &mut Token| {
        if *token != NO_TOKEN {
            let name = &mut names[usize::from(*token)];
            if *name == NO_TOKEN {
                let slot = *token / 16;
                let next = &mut given[usize::from(slot)];
                *name = slot * 16 + *next;
                *next += 1;
            }
            *token = *name;
        }
    };
    for doc in &mut state.docs {
        doc.stage.iter_mut().for_each(|stage| rename(&mut stage.token));
        let records = doc.records.iter_mut().flatten();
        records.filter_map(|record| record.token.as_mut()).for_each(&mut rename);
        doc.fence.iter_mut().for_each(|fence| rename(&mut fence.token));
    }
    for run in &mut state.runs {
        rename(&mut run.token);
        rename(&mut run.clears);
        run.obstacle.iter_mut().for_each(|found| rename(&mut found.token));
        match run.late.as_mut().map(|write| &mut write.op) {
            Some(Op::Stage(stage)) => rename(&mut stage.token),
            Some(Op::Commit { record, .. }) => record.token.iter_mut().for_each(&mut rename),
            Some(Op::Clear { token, .. }) => rename(token),
            Some(Op::Fence { fence, .. }) => rename(&mut fence.token),
            Some(Op::Wish { .. }) | None => {}
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use stateright::Model as _;

    use super::*;
    use crate::model::configs::{Configuration, named};
    use crate::model::fingerprint::fingerprint;

    /// What can be seen of all states from outside the runs: what documents hold and carry, and what
    /// has become of the calls.
    fn seen(model: &Protocol) -> (HashSet<u64>, usize) {
        let view = |state: &State| {
            let docs = state.docs.map(|doc| {
                let stage =
                    doc.stage.map(|stage| (stage.call, stage.attempt, state.fate_of(&stage)));
                (doc.there, doc.body, stage, doc.records.map(|record| record.map(|it| it.outcome)))
            });
            let calls = state.calls.map(|call| (call.sent, call.told, call.applied, call.recorded));
            fingerprint(&(docs.map(|doc| format!("{doc:?}")), calls, state.truth, state.leases))
        };
        let mut open = model.init_states();
        let mut known: HashSet<u64> = open.iter().map(fingerprint).collect();
        let mut views = HashSet::new();
        while let Some(state) = open.pop() {
            views.insert(view(&state));
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            let next = actions.into_iter().filter_map(|action| model.next_state(&state, action));
            open.extend(next.filter(|next| known.insert(fingerprint(next))));
        }
        (views, known.len())
    }

    /// Merging loses nothing that can be seen.
    #[test]
    fn merged_states_show_the_same() {
        for name in [
            "opposite",
            "opposite-crash",
            "errors",
            "own-effect",
            "watermarks",
            "settled",
            "created",
            "view",
            "incarnations",
            "absent-anchor-guarded",
            "leases-reader",
            "opened-and-closed",
        ] {
            let Some(Configuration::Store(config)) = named(name) else { panic!("{name}") };
            let merging = Protocol::new(config);
            let (few, merged) = seen(&merging);
            let (many, unmerged) = seen(&Protocol { merges: false, ..merging });
            assert_eq!(few, many, "{name}: what is seen in {merged} and in {unmerged} states");
            assert!(merged < unmerged, "{name}: {merged} of {unmerged} states");
        }
    }
}
