//! That everything can finish, and nothing goes round in circles.
//!
//! Takes away all faults from the graph of states. What is left must have no cycle, and must not end
//! anywhere but in a finished state: then, whatever has gone wrong so far, every way on ends well
//! once nothing more goes wrong.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash};

use stateright::Model;

use super::check::{GaveUp, Limits};
use super::fingerprint::{AsItIs, fingerprint};

/// A model with what there is to know of its steps.
pub(super) trait Explored: Model<State: Clone + Hash, Action: Copy> {
    /// What the configuration is called.
    fn name(&self) -> &'static str;

    /// Whether an action is a fault, or comes earlier than it would without one. What is left must
    /// lead to the end from everywhere.
    fn is_fault(&self, state: &Self::State, action: &Self::Action) -> bool;

    /// Whether everything has come to its end.
    fn is_finished(&self, state: &Self::State) -> bool;

    /// What may still go wrong, as a number: no step makes it more, and a step that makes it less is
    /// a fault.
    fn faults_left(&self, state: &Self::State) -> u64;

    /// Whether a property was broken on the way here: nothing follows then.
    fn is_broken(&self, state: &Self::State) -> bool;

    /// What kind of step an action is, for counting: named like the function of the code.
    fn kind(&self, action: &Self::Action) -> &'static str;

    /// An action in words.
    fn describe(&self, action: &Self::Action) -> String;

    /// What is found in a state, in a few lines.
    fn summary(&self, state: &Self::State) -> String;
}

/// A property of every model. The walk through its states has no need of it: *everything can finish*
/// asks for more.
pub(super) const WHO_ENDS_HAS_FINISHED: &str = "whoever can go on no more has finished";

/// The graph of a configuration, without its faults.
pub(super) struct Progress<A> {
    /// How many states there are.
    pub(super) states: usize,
    /// How often each kind of step is taken.
    pub(super) steps: BTreeMap<&'static str, u64>,
    /// A way into a state that no end is reached from, and what is wrong with it.
    pub(super) trouble: Option<(&'static str, Vec<A>)>,
}

/// How often the limits are looked at.
const STATES_BETWEEN_CHECKS: usize = 4096;

#[derive(Default)]
struct Graph {
    known: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    /// By state: from where it was first reached, and by which of the actions there.
    came_from: Vec<(u32, u16)>,
    /// `targets[starts[n]..starts[n + 1]]` are reached from `n` without a fault.
    starts: Vec<u32>,
    targets: Vec<u32>,
    stuck: Option<u32>,
}

/// Explores all of a configuration's states.
///
/// # Errors
/// If the limits are reached: after so many states.
pub(super) fn explore<M: Explored>(
    model: &M,
    limits: &Limits,
) -> Result<Progress<M::Action>, (usize, GaveUp)> {
    let mut graph = Graph::default();
    let mut steps = BTreeMap::new();
    let first = model.init_states().swap_remove(0);
    graph.known.insert(fingerprint(&first), 0);
    graph.came_from.push((0, 0));
    let mut level = vec![first];
    while !level.is_empty() {
        let mut next_level = Vec::new();
        for some in level.chunks(STATES_BETWEEN_CHECKS) {
            for state in some {
                graph.expand(model, state, &mut next_level, &mut steps);
            }
            let states = graph.came_from.len();
            limits.check(states).map_err(|gave_up| (states, gave_up))?;
        }
        level = next_level;
    }
    graph.starts.push(graph.targets.len() as u32);
    let trouble = match graph.stuck {
        Some(state) => Some(("everything can finish", graph.way_to(model, state))),
        None => graph.cycle().map(|cycle| {
            let mut way = graph.way_to(model, cycle[0]);
            graph.walk(model, &cycle, &mut way);
            ("nothing goes round without a fault", way)
        }),
    };
    Ok(Progress { states: graph.came_from.len(), steps, trouble })
}

impl Graph {
    fn expand<M: Explored>(
        &mut self,
        model: &M,
        state: &M::State,
        next_level: &mut Vec<M::State>,
        steps: &mut BTreeMap<&'static str, u64>,
    ) {
        let number = self.starts.len() as u32;
        self.starts.push(self.targets.len() as u32);
        let before = self.targets.len();
        let mut actions = Vec::new();
        model.actions(state, &mut actions);
        for (index, action) in actions.iter().enumerate() {
            let Some(next) = model.next_state(state, *action) else { continue };
            *steps.entry(model.kind(action)).or_default() += 1;
            let new = self.came_from.len() as u32;
            let target = *self.known.entry(fingerprint(&next)).or_insert(new);
            if target == new {
                self.came_from.push((number, index as u16));
                next_level.push(next);
            }
            if !model.is_fault(state, action) {
                self.targets.push(target);
            }
        }
        let ends = self.targets.len() == before;
        if ends && !model.is_broken(state) && !model.is_finished(state) {
            self.stuck.get_or_insert(number);
        }
    }

    /// The actions that first led to a state.
    fn way_to<M: Explored>(&self, model: &M, state: u32) -> Vec<M::Action> {
        let mut indices = Vec::new();
        let mut at = state;
        while at != 0 {
            let (before, index) = self.came_from[at as usize];
            indices.push(index);
            at = before;
        }
        let mut now = model.init_states().swap_remove(0);
        let mut way = Vec::new();
        for index in indices.into_iter().rev() {
            let mut actions = Vec::new();
            model.actions(&now, &mut actions);
            let action = actions[usize::from(index)];
            now = model.next_state(&now, action).expect("this way was taken before");
            way.push(action);
        }
        way
    }

    fn after(&self, state: u32) -> &[u32] {
        let (from, to) = (self.starts[state as usize], self.starts[state as usize + 1]);
        &self.targets[from as usize..to as usize]
    }

    /// A cycle, if there is one: what is left when all that nothing leads to is taken away.
    fn cycle(&self) -> Option<Vec<u32>> {
        let mut led_to = vec![0u32; self.came_from.len()];
        self.targets.iter().for_each(|target| led_to[*target as usize] += 1);
        let mut free: Vec<u32> =
            (0..led_to.len() as u32).filter(|state| led_to[*state as usize] == 0).collect();
        while let Some(state) = free.pop() {
            for target in self.after(state) {
                led_to[*target as usize] -= 1;
                if led_to[*target as usize] == 0 {
                    free.push(*target);
                }
            }
        }
        // Something before every state that is left is left too: walking back must come round.
        let left = |state: &u32| led_to[*state as usize] > 0;
        let mut before = HashMap::new();
        for state in (0..led_to.len() as u32).filter(left) {
            for target in self.after(state).iter().copied().filter(left) {
                before.entry(target).or_insert(state);
            }
        }
        let mut at = *before.keys().min()?;
        let mut seen = Vec::new();
        while !seen.contains(&at) {
            seen.push(at);
            at = before[&at];
        }
        let start = seen.iter().position(|state| *state == at)?;
        let mut cycle = seen.split_off(start);
        cycle.push(at);
        cycle.reverse();
        Some(cycle)
    }

    /// Appends the actions that lead along `states`.
    fn walk<M: Explored>(&self, model: &M, states: &[u32], way: &mut Vec<M::Action>) {
        let mut now = model.init_states().swap_remove(0);
        for action in way.iter() {
            now = model.next_state(&now, *action).expect("this way was taken before");
        }
        for target in &states[1..] {
            let mut actions = Vec::new();
            model.actions(&now, &mut actions);
            let leads_there = |action: &&M::Action| {
                let next = model.next_state(&now, **action);
                next.is_some_and(|next| self.known.get(&fingerprint(&next)) == Some(target))
            };
            let action = *actions.iter().find(leads_there).expect("an edge of the graph");
            now = model.next_state(&now, action).expect("found just now");
            way.push(action);
        }
    }
}
