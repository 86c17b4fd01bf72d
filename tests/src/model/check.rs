//! Exhausting a configuration, and looking for what a broken rule does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::bugs::SeededBug;
use super::calls::CallsConfig;
use super::configs::{Configuration, named};
use super::depth::walk;
use super::machine::Protocol;
use super::progress::{Explored, Progress, explore};

/// How far a search goes before it gives up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Unique states of one configuration.
    pub max_states: usize,
    /// When exploring is given up. The check that follows it takes about as long as exploring did.
    pub until: Option<Instant>,
}

/// What was found out about a configuration.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// Unique states that were seen.
    pub states: usize,
    /// How often each kind of step is taken, over all states. Empty unless all states were seen.
    pub steps: BTreeMap<&'static str, u64>,
    /// What became of the search.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// What became of a search.
#[derive(Debug)]
pub enum Verdict {
    /// All states were seen, and every property holds in all of them.
    Holds,
    /// A property does not hold.
    Violated(Violation),
    /// There are more states than the limits allow: nothing is known of the others.
    GaveUp(GaveUp),
}

/// A property that does not hold, and a way to see it.
#[derive(Debug)]
pub struct Violation {
    /// The property.
    pub property: String,
    /// What happens, in words, step by step.
    pub steps: Vec<String>,
    /// What is found in the end.
    pub end: String,
}

/// Why not all states were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// Raise the limit, or take something out of the configuration.
    #[error("more than {0} states")]
    TooManyStates(usize),
    /// Raise the budget, or run fewer configurations.
    #[error("the time is up")]
    TimeIsUp,
}

/// What stateright asks of a model.
trait Checked:
    Explored<State: Debug + PartialEq + Send + Sync, Action: Debug + PartialEq + Send + Sync>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl Checked for Protocol {}
impl Checked for CallsConfig {}

#[derive(Clone, Copy, Debug)]
enum Order {
    /// Needs little room.
    DepthFirst,
    /// Finds a shortest way.
    BreadthFirst,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_states: MAX_STATES, until: None }
    }
}

/// States of one configuration beyond which it is given up: their fingerprints fit into 7 GB.
pub const MAX_STATES: usize = 600_000_000;
/// States up to which stateright looks at a configuration too.
const MOST_STATES_TWICE: usize = 20_000_000;
/// States beyond which the search for what a seeded bug does gives up: their graph fits into 6 GB.
const MOST_STATES_OF_A_BUG: usize = 60_000_000;
/// States are reached in two to five ways on average; far beyond that a search has gone wrong.
const MOST_WAYS_INTO_A_STATE: usize = 16;

impl Limits {
    pub(super) fn check(&self, states: usize) -> Result<(), GaveUp> {
        if states > self.max_states {
            return Err(GaveUp::TooManyStates(self.max_states));
        }
        match self.until {
            Some(until) if Instant::now() >= until => Err(GaveUp::TimeIsUp),
            _ => Ok(()),
        }
    }
}

/// Walks through every state of a configuration, and looks in each for what must never be, and whether
/// everything can finish. Then stateright explores it again for what must never be, unless it is
/// too large for that. Both count the states, and must agree.
#[must_use]
pub fn exhaust(config: Configuration, limits: &Limits) -> Report {
    match config {
        Configuration::Store(config) => exhaust_model(&Protocol::new(config), limits),
        Configuration::Calls(config) => exhaust_model(&config, limits),
    }
}

fn exhaust_model<M: Checked>(model: &M, limits: &Limits) -> Report {
    let begun = Instant::now();
    let report = |states, steps, verdict| Report {
        name: model.name(),
        states,
        steps,
        verdict,
        took: begun.elapsed(),
    };
    let Progress { states, steps, trouble } = match walk(model, limits) {
        Ok(progress) => progress,
        Err((states, gave_up)) => {
            return report(states, BTreeMap::new(), Verdict::GaveUp(gave_up));
        }
    };
    if trouble.is_none() && states > MOST_STATES_TWICE {
        return report(states, steps, Verdict::Holds);
    }
    let safety = check_safety(model, Order::DepthFirst, limits);
    let verdict = match (safety.verdict, trouble) {
        (Verdict::Holds, Some((property, way))) => {
            Verdict::Violated(Violation::of(model, property, &way))
        }
        (Verdict::Holds, None) if safety.states != states => {
            let property = format!("two explorers agree ({states} and {} states)", safety.states);
            Verdict::Violated(Violation { property, steps: Vec::new(), end: String::new() })
        }
        (verdict, _) => verdict,
    };
    report(states, steps, verdict)
}

/// Looks for what a seeded bug does: level by level for a shortest way to break a property; if there
/// is none, for a way on which something never finishes. [`Verdict::Violated`]: it is found, in so
/// many states. [`Verdict::Holds`]: the configuration does not show it.
///
/// # Panics
/// If the bug is not one of [`seeded_bugs`](super::seeded_bugs): it must name a configuration.
#[must_use]
pub fn find(bug: &SeededBug, limits: &Limits) -> Report {
    let config = named(bug.config).expect("a seeded bug names a configuration");
    match config.with(bug.bug) {
        Configuration::Store(config) => find_in(&Protocol::new(config), limits),
        Configuration::Calls(config) => find_in(&config, limits),
    }
}

fn find_in<M: Checked>(model: &M, limits: &Limits) -> Report {
    let begun = Instant::now();
    let limits = &Limits { max_states: limits.max_states.min(MOST_STATES_OF_A_BUG), ..*limits };
    let mut report = check_safety(model, Order::BreadthFirst, limits);
    if matches!(report.verdict, Verdict::Holds) {
        match explore(model, limits) {
            Err((_, gave_up)) => report.verdict = Verdict::GaveUp(gave_up),
            Ok(Progress { states, steps, trouble }) => {
                (report.states, report.steps) = (states, steps);
                if let Some((property, way)) = trouble {
                    report.verdict = Verdict::Violated(Violation::of(model, property, &way));
                }
            }
        }
    }
    report.took = begun.elapsed();
    report
}

/// Looks for a state that must never be.
fn check_safety<M: Checked>(model: &M, order: Order, limits: &Limits) -> Report {
    let begun = Instant::now();
    // The checker counts a state as often as it is reached.
    let most = limits.max_states.saturating_mul(MOST_WAYS_INTO_A_STATE);
    let checker =
        model.clone().checker().finish_when(HasDiscoveries::AnyFailures).target_state_count(most);
    let (states, reached, found) = match order {
        Order::DepthFirst => searched(&checker.spawn_dfs().join()),
        Order::BreadthFirst => searched(&checker.spawn_bfs().join()),
    };
    let verdict = match found {
        Some((property, way)) => Verdict::Violated(Violation::of(model, property, &way)),
        None if reached >= most => Verdict::GaveUp(GaveUp::TooManyStates(limits.max_states)),
        None => Verdict::Holds,
    };
    Report { name: model.name(), states, steps: BTreeMap::new(), verdict, took: begun.elapsed() }
}

/// Unique states, states as often as they were reached, and a way to break a property.
type Searched<M> = (usize, usize, Option<(&'static str, Vec<<M as Model>::Action>)>);

fn searched<M: Checked>(checker: &impl Checker<M>) -> Searched<M> {
    let found = checker.discoveries().into_iter().min_by_key(|(name, _)| *name);
    let found = found.map(|(property, path)| (property, path.into_actions()));
    (checker.unique_state_count(), checker.state_count(), found)
}

impl Violation {
    fn of<M: Explored>(model: &M, property: &str, way: &[M::Action]) -> Violation {
        let mut now = model.init_states().swap_remove(0);
        let mut steps = Vec::new();
        for action in way {
            steps.push(model.describe(action));
            now = model.next_state(&now, *action).expect("the way was found in this model");
        }
        Violation { property: property.to_owned(), steps, end: model.summary(&now) }
    }
}
