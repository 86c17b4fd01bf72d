//! The protocol as a stateright model.

use std::fmt::Write as _;

use stateright::{Model, Property};

use super::action::{Action, Chore, enabled, is_fault};
use super::normal::normalise;
use super::plan::{Config, Slots};
use super::progress::{Explored, WHO_ENDS_HAS_FINISHED};
use super::run::{Run, Step};
use super::state::{Broken, Budget, Call, Doc, Janitor, LeaseState, State, Told};
use super::state::{CALLS, CLIENTS, DOCS, RUNS, SERVERS};
use super::turn::Turn;

/// A configuration as something to explore.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub(super) config: Config,
    pub(super) slots: Slots,
    /// Whether states are merged that do the same, and not only those that cannot be told apart.
    pub(super) merges: bool,
}

impl Protocol {
    /// The world of a configuration.
    ///
    /// # Panics
    /// If it has more calls or attempts than a state has room for.
    #[must_use]
    pub fn new(config: Config) -> Protocol {
        Protocol { config, slots: Slots::of(&config), merges: true }
    }

    pub(super) fn client(&self, call: u8) -> u8 {
        self.config.calls[usize::from(call)].client
    }

    /// The server of an attempt: each of a call's attempts goes to another.
    pub(super) fn server(&self, attempt: u8) -> usize {
        (usize::from(attempt) - 1) % SERVERS
    }
}

pub(super) fn letter(doc: u8) -> char {
    char::from(b'A' + doc)
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let docs = self.config.docs.map(|body| Doc { there: body != 0, body, ..Doc::default() });
        vec![State {
            docs,
            runs: [Run::default(); RUNS],
            calls: [Call::default(); CALLS],
            leases: [LeaseState::Lasts; CLIENTS],
            cleared: [0; SERVERS],
            janitor: Janitor::default(),
            left: self.config.faults,
            truth: self.config.docs,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        enabled(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let turn = Turn { model: self, state: *last };
        let mut next = match action {
            Action::Send { slot } => Some(turn.send(usize::from(slot))),
            Action::Do { slot, step, how } => turn.go(usize::from(slot), step.0, how),
            Action::Arrive { slot } => turn.arrive(usize::from(slot)),
            Action::Deliver { slot } => turn.deliver(usize::from(slot)),
            Action::Lose { slot } => Some(turn.lose(usize::from(slot))),
            Action::Stop { slot } => Some(turn.stop(usize::from(slot))),
            Action::Crash(server) => Some(turn.crash(usize::from(server))),
            Action::LeaseEnds(client) => Some(turn.lease_ends(client)),
            Action::LeaseOver(client) => Some(turn.lease_over(client)),
            Action::Tidy(chore) => turn.tidy(chore.0),
        }?;
        Turn::note_truth(&mut next, self);
        normalise(self, &mut next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        vec![
            Property::always("each call is applied at most once", |_, state: &State| {
                state.calls.iter().all(|call| call.applied <= 1)
            }),
            Property::always("what a client is told is so", |model: &Protocol, state: &State| {
                state
                    .calls
                    .iter()
                    .enumerate()
                    .all(|(number, call)| told_the_truth(model, number, call))
            }),
            Property::always("one committed outcome for all attempts", |_, state: &State| {
                state.broken != Some(Broken::TwoOutcomes)
            }),
            Property::always("a commit rests on what is true then", |_, state: &State| {
                state.broken != Some(Broken::StaleCommit)
            }),
            Property::always("a record decides only its own run's stages", |_, state: &State| {
                state.broken != Some(Broken::ForeignStageDecided)
            }),
            Property::always(
                "an outcome without writes rests on one moment",
                |_, state: &State| state.broken != Some(Broken::TornOutcome),
            ),
            Property::always("documents show all of a commit or nothing", |_, state: &State| {
                (0..DOCS).all(|doc| state.effective(doc) == state.truth[doc])
            }),
            Property::always(WHO_ENDS_HAS_FINISHED, |model: &Protocol, state: &State| {
                let mut actions = Vec::new();
                enabled(model, state, &mut actions);
                !actions.is_empty() || state.broken.is_some() || model.is_finished(state)
            }),
        ]
    }
}

impl Explored for Protocol {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn is_fault(&self, state: &State, action: &Action) -> bool {
        is_fault(self, state, action)
    }

    fn faults_left(&self, state: &State) -> u64 {
        let Budget { crashes, ambiguous, late, early, lost, unavailable, deadlines, leases } =
            state.left;
        u64::from_le_bytes([crashes, ambiguous, late, early, lost, unavailable, deadlines, leases])
    }

    fn is_broken(&self, state: &State) -> bool {
        state.broken.is_some()
    }

    fn kind(&self, action: &Action) -> &'static str {
        action.kind()
    }

    fn is_finished(&self, state: &State) -> bool {
        let calls = self.config.calls.iter().zip(&state.calls);
        let told = calls.clone().all(|(_, call)| call.told.is_some());
        let quiet = state
            .runs
            .iter()
            .all(|run| !run.is_running() && run.answer.is_none() && run.late.is_none());
        let is_over = |client: usize| state.leases[client] == LeaseState::Over;
        let remembers = |doc: &Doc, client: usize| {
            let wish = doc.wish.map(|wish| usize::from(self.client(wish.call)));
            doc.entries[client].known || (doc.body == 0 && wish == Some(client))
        };
        let collected = state
            .docs
            .iter()
            .all(|doc| (0..CLIENTS).all(|client| !(is_over(client) && remembers(doc, client))));
        told && quiet && collected && !state.leases.contains(&LeaseState::Ended)
    }

    fn describe(&self, action: &Action) -> String {
        let who = |slot: &u8| {
            let (call, attempt) = self.slots.runs[usize::from(*slot)];
            let plan = &self.config.calls[usize::from(call)];
            let server = self.server(attempt) + 1;
            format!("call {}.{}, attempt {attempt}, server {server}", plan.client + 1, plan.seq)
        };
        match action {
            Action::Send { slot } => format!("{}: sent", who(slot)),
            Action::Do { slot, step, how } => format!("{}: {}{how}", who(slot), step.0.in_words()),
            Action::Arrive { slot } => format!("{}: the late write reaches the store", who(slot)),
            Action::Deliver { slot } => format!("{}: the client gets the answer", who(slot)),
            Action::Lose { slot } => format!("{}: the request or the answer gets lost", who(slot)),
            Action::Stop { slot } => format!("{}: stopped, to be aborted", who(slot)),
            Action::Crash(server) => format!("server {} crashes", server + 1),
            Action::LeaseEnds(client) => format!("the lease of client {} ends", client + 1),
            Action::LeaseOver(client) => format!("the session of client {} is over", client + 1),
            Action::Tidy(chore) => chore.0.in_words(),
        }
    }

    fn summary(&self, state: &State) -> String {
        let mut text = String::new();
        for doc in 0..DOCS {
            let calls =
                |body| super::state::calls_in(body).map(|call| call + 1).collect::<Vec<_>>();
            let found = &state.docs[doc];
            if found.there || state.truth[doc] != 0 {
                let (seen, truth) = (calls(state.effective(doc)), calls(state.truth[doc]));
                let name = letter(doc as u8);
                let _ = writeln!(text, "    document {name}: shows {seen:?}, in truth {truth:?}");
                if let Some(stage) = found.stage {
                    let fate = state.fate_of(&stage);
                    let _ = writeln!(text, "      stage of call {}: {fate:?}", stage.call + 1);
                }
            }
        }
        for (number, call) in (1..).zip(state.calls.iter().take(self.config.calls.len())) {
            let (told, recorded, applied) = (call.told, call.recorded, call.applied);
            let _ = writeln!(
                text,
                "    call {number}: applied {applied}, recorded {recorded:?}, told {told:?}",
            );
        }
        text
    }
}

/// Nothing that was acknowledged is missing, and nothing that was denied has happened.
fn told_the_truth(model: &Protocol, number: usize, call: &Call) -> bool {
    let writes = model.config.calls.get(number).is_some_and(|plan| !plan.writes.is_empty());
    match call.told {
        None | Some(Told::SessionLost) => true,
        Some(Told::Committed(outcome)) => {
            call.recorded == Some(outcome)
                && (writes && outcome.is_success()) == (call.applied == 1)
        }
        Some(Told::Tentative(_) | Told::NotExecuted) => call.applied == 0,
        Some(Told::Stale | Told::Fenced) => false,
    }
}

impl Step {
    fn in_words(self) -> String {
        match self {
            Step::LookUp => "look_up".to_owned(),
            Step::Load(doc) => format!("load {}", letter(doc)),
            Step::AskAnchor(doc) => format!("load_effective {}: ask the anchor", letter(doc)),
            Step::ClearMet(doc, how) => {
                format!("load_effective {}: clear_stage ({how:?})", letter(doc))
            }
            Step::LoadAgain(doc) => format!("load_effective {}: load again", letter(doc)),
            Step::CheckSession => "check_session".to_owned(),
            Step::Confirm(doc) => format!("confirm {}", letter(doc)),
            Step::ConfirmAsk(doc) => format!("confirm {}: ask the anchor", letter(doc)),
            Step::ConfirmAgain(doc) => format!("confirm {}: load again", letter(doc)),
            Step::StageAll => "stage_all".to_owned(),
            Step::Stage(doc) => format!("stage {}", letter(doc)),
            Step::RecheckSession => "check_session again".to_owned(),
            Step::WriteAnchor => "write_anchor".to_owned(),
            Step::TakeBack(doc) => format!("take_back {}", letter(doc)),
            Step::Unstage(doc) => format!("unstage {}", letter(doc)),
            Step::Lost => "lost".to_owned(),
            Step::WaitForWinner(call) => format!("wait_for_winner: no more for call {}", call + 1),
            Step::LeaveWish => "leave_wish".to_owned(),
            Step::LetGoFirst(call) => format!("let_older_go_first: call {}", call + 1),
            Step::MakeWay(doc) => format!("make_way {}: ask the anchor", letter(doc)),
            Step::Patience(doc) => format!("make_way {}: wait", letter(doc)),
            Step::Fence(doc) => format!("make_way {}: fence", letter(doc)),
            Step::LookAgain(doc) => format!("make_way {}: look again", letter(doc)),
            Step::ClearForWay(doc, how) => {
                format!("make_way {}: clear_stage ({how:?})", letter(doc))
            }
            Step::Idle | Step::Ended | Step::Crashed => format!("{self:?}"),
        }
    }
}

impl Chore {
    fn in_words(self) -> String {
        match self {
            Chore::Collect(doc) => format!("collect {}: load", letter(doc)),
            Chore::Clear(doc, call) => {
                format!("look_after: clear_stage {} of call {}", letter(doc), call + 1)
            }
            Chore::SeeCleared(call) => format!("look_after: call {} is cleared", call + 1),
            Chore::SeeOver(client) => format!("is_over: client {}", client + 1),
            Chore::Write => "collect: write".to_owned(),
            Chore::RemoveEmpty(doc) => format!("an empty {} is removed", letter(doc)),
        }
    }
}
