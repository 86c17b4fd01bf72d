//! Whole worlds from seeds, in a size that a test may take. `cargo run --release -p rpc-tests --bin
//! sim` runs more, and `docs/testing-simulation.md` says what they prove.

use rpc::testing::{Broken, Rule};
use rpc_tests::sim::{self, Plan, Settings, StoreKind, Totals};

/// Seeds that once broke a rule, with what was wrong then.
const KEPT: [(u64, &str); 1] =
    [(4, "a client that asked again while no server was in reach took all of a processor")];

#[test]
fn no_world_breaks_a_rule() {
    let mut totals = Totals::default();
    for seed in 0..300 {
        let outcome = sim::run(seed, &Settings::default());
        assert_eq!(outcome.violation, None, "seed {seed}:\n{}", Plan::of(seed));
        totals.add(&outcome);
    }
    assert!(totals.figures.succeeded * 2 >= totals.figures.calls, "{totals}");
    assert!(totals.figures.replayed > 0 && totals.figures.rolled_forward > 0, "{totals}");
}

#[test]
fn a_seed_is_a_world() {
    for seed in 1_000..1_100 {
        let first = sim::run(seed, &Settings::default());
        let recorded = sim::run(seed, &Settings::default().record(true));
        assert_eq!(first.hash, recorded.hash, "seed {seed} is not the same world twice");
        assert_eq!(first.figures, recorded.figures, "seed {seed}");
    }
    let (one, other) = (sim::run(1, &Settings::default()), sim::run(2, &Settings::default()));
    assert_ne!(one.hash, other.hash, "different seeds are different worlds");
}

#[test]
fn kept_seeds_hold() {
    for (seed, was) in KEPT {
        let outcome = sim::run(seed, &Settings::default());
        assert_eq!(outcome.violation, None, "seed {seed}: {was}");
    }
}

/// The first seed that notices that a rule is broken.
fn noticed(rule: Rule, seeds: u64) -> Option<Plan> {
    let _broken = Broken::rule(rule);
    let plans = (0..seeds).map(Plan::of);
    let mut memory = plans.filter(|plan| plan.store == StoreKind::Memory);
    memory.find(|plan| sim::run_plan(plan, &Settings::default()).violation.is_some())
}

#[test]
fn a_broken_rule_is_noticed_and_made_small() {
    let plan = noticed(Rule::CheckIdAtCommit, 4_000).expect("some world needs the rule");
    let _broken = Broken::rule(Rule::CheckIdAtCommit);
    let shrunk = sim::shrink(&plan, &Settings::default(), 400).expect("it fails again");
    let calls = |plan: &Plan| plan.clients.iter().map(|client| client.calls.len()).sum::<usize>();
    assert!(calls(&shrunk.plan) < calls(&plan), "{} is not smaller than {plan}", shrunk.plan);
    let outcome = sim::run_plan(&shrunk.plan, &Settings::default().record(true));
    assert_eq!(outcome.violation, Some(shrunk.violation));
    assert!(outcome.diagram.starts_with("sequenceDiagram"), "{}", outcome.diagram);
    assert!(outcome.diagram.contains("VIOLATION"), "{}", outcome.diagram);
}

#[test]
fn a_world_that_takes_too_many_steps_did_not_finish() {
    let settings = Settings::default().max_steps(20);
    let violation = sim::run(0, &settings).violation.expect("twenty steps are too few");
    assert_eq!(violation.rule, "did not finish");
}
