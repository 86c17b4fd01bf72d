//! Makes a plan that fails smaller, as long as it still fails.

use super::fault::Fault;
use super::plan::{CallPlan, ComesBack, Plan, StoreKind};
use super::{Settings, Violation, run_plan};
use crate::panics;

/// A plan that fails, and how.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// What is wrong with its world.
    pub violation: Violation,
    /// How many worlds were run to find it.
    pub worlds: u32,
}

/// Other dice for the same plan: taking something away changes what the dice decide about the rest.
const OTHER_DICE: u64 = 3;

/// Turns off what the failure does not need: faults, clients, calls, options. Runs at most this
/// many worlds. `None`: the plan does not fail.
#[must_use]
pub fn shrink(plan: &Plan, settings: &Settings, most_worlds: u32) -> Option<Shrunk> {
    panics::quietly(|| {
        let settings = settings.record(false);
        let violation = run_plan(plan, &settings).violation?;
        let mut best = Shrunk { plan: plan.clone(), violation, worlds: 1 };
        while let Some(smaller) = step(&mut best, &settings, most_worlds) {
            best = smaller;
        }
        Some(best)
    })
}

/// The first smaller plan that still fails.
fn step(best: &mut Shrunk, settings: &Settings, most_worlds: u32) -> Option<Shrunk> {
    for candidate in smaller(&best.plan) {
        for dice in 0..=OTHER_DICE {
            if best.worlds >= most_worlds {
                return None;
            }
            best.worlds += 1;
            let mut plan = candidate.clone();
            plan.seed = plan.seed.wrapping_add(dice << 32);
            let violation = run_plan(&plan, settings).violation;
            if let Some(violation) = violation.filter(|found| found.rule == best.violation.rule) {
                return Some(Shrunk { plan, violation, worlds: best.worlds });
            }
        }
    }
    None
}

/// Plans that are a little smaller, the smallest first.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut changed = plan.clone();
        change(&mut changed);
        if changed != *plan {
            plans.push(changed);
        }
    };
    with(&|plan| plan.rates.clear());
    with(&|plan| plan.triggers.clear());
    if plan.clients.len() > 1 {
        (0..plan.clients.len()).for_each(|index| with(&|plan| drop(plan.clients.remove(index))));
    }
    (0..plan.rates.len()).for_each(|index| {
        with(&|plan| {
            plan.rates.remove(index);
        })
    });
    (0..plan.triggers.len()).for_each(|index| {
        with(&|plan| {
            plan.triggers.remove(index);
        })
    });
    for (client, its) in plan.clients.iter().enumerate() {
        for call in 0..its.calls.len() {
            with(&|plan| {
                plan.clients[client].calls.remove(call);
            });
        }
    }
    with(&|plan| plan.store = StoreKind::Memory);
    (0..plan.clients.len()).for_each(|index| {
        with(&|plan| plan.clients[index].comes_back = ComesBack::Never);
    });
    with(&|plan| plan.servers = (plan.servers - 1).max(1));
    with(&|plan| plan.skew_ms.clear());
    with(&|plan| plan.lease_ms = plan.lease_ms.max(1_800_000));
    with(&|plan| plan.keepalive_ms = 15_000);
    with(&|plan| plan.frame_ms = 1);
    with(&|plan| plan.store_ms = plan.store_ms.min(1));
    with(&|plan| plan.rates.iter_mut().for_each(|rate| rate.burst = 0));
    for (client, its) in plan.clients.iter().enumerate() {
        for call in 0..its.calls.len() {
            for change in SIMPLER {
                with(&|plan| change(&mut plan.clients[client].calls[call]));
            }
        }
    }
    plans.retain(is_whole);
    plans
}

/// What can be taken from a call.
const SIMPLER: [fn(&mut CallPlan); 4] = [
    |call| call.hedge_ms = 0,
    |call| call.drop_ms = 0,
    |call| call.work_ms = [0, 0],
    |call| call.deadline_ms = call.deadline_ms.max(5_000),
];

/// Whether a plan still has what a world needs.
fn is_whole(plan: &Plan) -> bool {
    let servers = (1u8 << plan.servers) - 1;
    let knows = plan.clients.iter().all(|client| client.knows & servers != 0);
    let skews = plan.skew_ms.is_empty() || plan.skew_ms.len() >= usize::from(plan.servers);
    let beyond = plan.rates.iter().all(|rate| rate.fault < Fault::SkewWithin);
    knows && skews && beyond && plan.clients.iter().any(|client| !client.calls.is_empty())
}
