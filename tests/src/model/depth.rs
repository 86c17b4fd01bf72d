//! Everything about a configuration in one walk through its states, of which no more is kept than
//! their fingerprints: what must never be, that everything can finish, and that nothing goes round.
//!
//! Steps that are no faults are taken first, depth first. A step back to a state that is still
//! being walked on from is then a circle. Faults come when all that follows a state without them is
//! known. A step that takes something from the budget of faults is walked on from at once: no way
//! leads back from there, so it meets no state that is still open. A fault that takes nothing, a
//! wait that ends too early, is put off until nothing with the same budget is open.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasherDefault;
use std::rc::Rc;

use super::check::{GaveUp, Limits};
use super::fingerprint::{AsItIs, Fingerprints, fingerprint};
use super::progress::{Explored, Progress, WHO_ENDS_HAS_FINISHED};

/// How often the limits are looked at.
const STEPS_BETWEEN_CHECKS: u32 = 1 << 16;

/// A state that is being walked on from.
struct Open<M: Explored> {
    state: M::State,
    fingerprint: u64,
    /// First those that are no faults.
    actions: Vec<M::Action>,
    without_fault: usize,
    /// The next of the actions to look at.
    next: usize,
    /// All that follows without faults is known.
    in_faults: bool,
    /// Nothing with the same budget was open before it.
    is_root: bool,
    goes_on: bool,
    way: Way<M::Action>,
}

/// How a state was reached: its last step, and those before it.
type Way<A> = Option<Rc<Link<A>>>;

struct Link<A> {
    action: A,
    before: Way<A>,
}

/// States behind faults that take nothing from the budget: their fingerprints, and how to get there
/// from the first state. Most of them are reached without a fault later on.
type PutOff<A> = Vec<(u64, Way<A>)>;

/// The name of what must always be, and whether it is.
type Promise<M> = (&'static str, fn(&M, &<M as stateright::Model>::State) -> bool);

struct Walk<'a, M: Explored> {
    model: &'a M,
    promises: Vec<Promise<M>>,
    known: Fingerprints,
    /// Those of `stack` that faults were not taken from yet.
    open: HashSet<u64, BuildHasherDefault<AsItIs>>,
    stack: Vec<Open<M>>,
    /// For each root of `stack`.
    put_off: Vec<PutOff<M::Action>>,
    /// All that was ever put off: once is enough.
    known_put_off: Fingerprints,
    /// By kind of step; there are a few dozen.
    steps: Vec<(&'static str, u64)>,
    trouble: Option<(&'static str, Way<M::Action>)>,
}

/// Walks through all of a configuration's states.
///
/// # Errors
/// If the limits are reached: after so many states.
pub(super) fn walk<M: Explored>(
    model: &M,
    limits: &Limits,
) -> Result<Progress<M::Action>, (usize, GaveUp)> {
    let first = model.init_states().swap_remove(0);
    let mut walk = Walk {
        model,
        promises: promises_of(model),
        known: Fingerprints::default(),
        open: HashSet::default(),
        stack: Vec::new(),
        put_off: Vec::new(),
        known_put_off: Fingerprints::default(),
        steps: Vec::new(),
        trouble: None,
    };
    let print = fingerprint(&first);
    walk.known.insert(print);
    walk.put_off.push(Vec::new());
    walk.enter(first, print, None, true);
    let mut since_check = 0;
    while walk.trouble.is_none() && walk.step() {
        since_check += 1;
        if since_check == STEPS_BETWEEN_CHECKS {
            since_check = 0;
            let states = walk.known.len();
            limits.check(states).map_err(|gave_up| (states, gave_up))?;
        }
    }
    let mut steps = BTreeMap::new();
    walk.steps.iter().for_each(|(kind, times)| *steps.entry(*kind).or_default() += times);
    let trouble = walk.trouble.map(|(property, way)| (property, actions_of(&way)));
    Ok(Progress { states: walk.known.len(), steps, trouble })
}

fn promises_of<M: Explored>(model: &M) -> Vec<Promise<M>> {
    let others = model.properties().into_iter().filter(|one| one.name != WHO_ENDS_HAS_FINISHED);
    others.map(|one| (one.name, one.condition)).collect()
}

impl<M: Explored> Walk<'_, M> {
    /// Takes one step, or leaves a state. `false`: there is nothing more to do.
    fn step(&mut self) -> bool {
        let Some(top) = self.stack.last_mut() else { return false };
        if top.next == top.without_fault && !top.in_faults {
            self.turn_to_faults();
            return true;
        }
        let Some(action) = top.actions.get(top.next).copied() else {
            let is_root = top.is_root;
            self.stack.pop();
            if is_root {
                self.next_root();
            }
            return true;
        };
        top.next += 1;
        if let Some(next) = self.model.next_state(&top.state, action) {
            top.goes_on |= !top.in_faults;
            self.count(self.model.kind(&action));
            self.arrive(action, next);
        }
        true
    }

    /// Looks at the state that a step from the last one has led to.
    fn arrive(&mut self, action: M::Action, next: M::State) {
        let top = self.stack.last().expect("the step was taken from it");
        let print = fingerprint(&next);
        let costs = self.model.faults_left(&next) != self.model.faults_left(&top.state);
        let way = || Some(Rc::new(Link { action, before: top.way.clone() }));
        if !top.in_faults && self.open.contains(&print) {
            self.trouble = Some(("nothing goes round without a fault", way()));
        } else if top.in_faults && !costs {
            if !self.known.contains(print) && self.known_put_off.insert(print) {
                let way = way();
                self.put_off.last_mut().expect("every state has a root").push((print, way));
            }
        } else if self.known.insert(print) {
            let way = way();
            if costs {
                self.put_off.push(Vec::new());
            }
            self.enter(next, print, way, costs);
        }
    }

    /// Begins to walk on from a new state.
    fn enter(&mut self, state: M::State, print: u64, way: Way<M::Action>, is_root: bool) {
        let is_kept = |(_, condition): &&Promise<M>| condition(self.model, &state);
        if let Some((broken, _)) = self.promises.iter().find(|promise| !is_kept(promise)) {
            self.trouble = Some((broken, way));
            return;
        }
        let mut actions = Vec::new();
        self.model.actions(&state, &mut actions);
        let (mut actions, faults): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| !self.model.is_fault(&state, action));
        let without_fault = actions.len();
        actions.extend(faults);
        self.open.insert(print);
        self.stack.push(Open {
            state,
            fingerprint: print,
            actions,
            without_fault,
            next: 0,
            in_faults: false,
            is_root,
            goes_on: false,
            way,
        });
    }

    /// All steps that are no faults were taken from the last state.
    fn turn_to_faults(&mut self) {
        let top = self.stack.last_mut().expect("the caller has seen it");
        top.in_faults = true;
        self.open.remove(&top.fingerprint);
        if !top.goes_on && !self.model.is_broken(&top.state) && !self.model.is_finished(&top.state)
        {
            self.trouble = Some(("everything can finish", top.way.clone()));
        }
    }

    /// Nothing with the budget of the last root is open any more: what was put off is next.
    fn next_root(&mut self) {
        while let Some((print, way)) = self.put_off.last_mut().and_then(Vec::pop) {
            if self.known.insert(print) {
                let state = end_of(self.model, &way);
                return self.enter(state, print, way, true);
            }
        }
        self.put_off.pop();
    }

    fn count(&mut self, kind: &'static str) {
        match self.steps.iter_mut().find(|(other, _)| std::ptr::eq(*other, kind)) {
            Some((_, times)) => *times += 1,
            None => self.steps.push((kind, 1)),
        }
    }
}

/// The state that a way leads to.
fn end_of<M: Explored>(model: &M, way: &Way<M::Action>) -> M::State {
    let mut now = model.init_states().swap_remove(0);
    for action in actions_of(way) {
        now = model.next_state(&now, action).expect("this way was taken before");
    }
    now
}

fn actions_of<A: Copy>(way: &Way<A>) -> Vec<A> {
    let mut actions = Vec::new();
    let mut at = way;
    while let Some(link) = at {
        actions.push(link.action);
        at = &link.before;
    }
    actions.reverse();
    actions
}

#[cfg(test)]
mod tests {
    use stateright::{Model, Property};

    use super::super::progress::{Explored, explore};
    use super::*;

    /// A graph with a few faults at most.
    #[derive(Clone, Debug)]
    struct Drawn {
        /// By node: where one gets to, and whether that is a fault, and costs one of them.
        edges: Vec<Vec<(u8, bool, bool)>>,
        ends: Vec<bool>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct At {
        node: u8,
        left: u8,
    }

    impl Drawn {
        fn of(seed: u64) -> Drawn {
            let mut rng = fastrand::Rng::with_seed(seed);
            let nodes = rng.u8(2..12);
            let mut edges = vec![Vec::new(); usize::from(nodes)];
            for from in &mut edges {
                for _ in 0..rng.usize(0..3) {
                    let is_fault = rng.u8(0..3) == 0;
                    from.push((rng.u8(0..nodes), is_fault, is_fault && rng.bool()));
                }
            }
            Drawn { edges, ends: (0..nodes).map(|_| rng.u8(0..4) > 0).collect() }
        }
    }

    impl Model for Drawn {
        type State = At;
        type Action = (u8, bool, bool);

        fn init_states(&self) -> Vec<At> {
            vec![At { node: 0, left: 2 }]
        }

        fn actions(&self, at: &At, actions: &mut Vec<Self::Action>) {
            let edges = self.edges[usize::from(at.node)].iter();
            actions.extend(edges.filter(|(_, _, costs)| at.left > 0 || !costs));
        }

        fn next_state(&self, at: &At, (node, _, costs): Self::Action) -> Option<At> {
            Some(At { node, left: at.left - u8::from(costs) })
        }

        fn properties(&self) -> Vec<Property<Drawn>> {
            Vec::new()
        }
    }

    impl Explored for Drawn {
        fn name(&self) -> &'static str {
            "drawn"
        }

        fn is_fault(&self, _: &At, (_, is_fault, _): &Self::Action) -> bool {
            *is_fault
        }

        fn is_finished(&self, at: &At) -> bool {
            self.ends[usize::from(at.node)]
        }

        fn faults_left(&self, at: &At) -> u64 {
            at.left.into()
        }

        fn is_broken(&self, _: &At) -> bool {
            false
        }

        fn kind(&self, _: &Self::Action) -> &'static str {
            "step"
        }

        fn describe(&self, action: &Self::Action) -> String {
            format!("{action:?}")
        }

        fn summary(&self, at: &At) -> String {
            format!("{at:?}")
        }
    }

    /// The other explorer keeps the whole graph, and looks for circles in that.
    #[test]
    fn both_explorers_say_the_same_of_any_graph() {
        let (mut well, mut round, mut stuck) = (0, 0, 0);
        for seed in 0..20_000 {
            let graph = Drawn::of(seed);
            let whole = explore(&graph, &Limits::default()).expect("a small graph");
            let walked = walk(&graph, &Limits::default()).expect("a small graph");
            assert_eq!(whole.trouble.is_some(), walked.trouble.is_some(), "seed {seed}: {graph:?}");
            match walked.trouble {
                None => {
                    well += 1;
                    assert_eq!((whole.states, whole.steps), (walked.states, walked.steps));
                }
                Some(("everything can finish", way)) => {
                    stuck += 1;
                    let end = follow(&graph, &way).pop().expect("a way has a beginning");
                    let calm = |edge: &&(u8, bool, bool)| !edge.1;
                    assert!(graph.edges[usize::from(end.node)].iter().find(calm).is_none());
                    assert!(!graph.ends[usize::from(end.node)]);
                }
                Some((_, way)) => {
                    round += 1;
                    let ways = follow(&graph, &way);
                    let (end, before) = ways.split_last().expect("a way has a beginning");
                    let back = before.iter().rposition(|at| at == end).expect("it comes round");
                    assert!(way[back..].iter().all(|(_, is_fault, _)| !is_fault), "{way:?}");
                }
            }
        }
        assert!(well > 1000 && round > 1000 && stuck > 1000, "{well} {round} {stuck}");
    }

    fn follow(graph: &Drawn, way: &[(u8, bool, bool)]) -> Vec<At> {
        let mut all = graph.init_states();
        for action in way {
            let next = graph.next_state(all.last().expect("there is a first"), *action);
            all.extend(next);
        }
        all
    }
}
