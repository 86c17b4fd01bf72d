//! The model of the store protocol, in a size that a debug build exhausts; `--bin model` does more.

use std::collections::BTreeSet;

use rpc_tests::model::{Limits, Verdict, all, exhaust, find, named, seeded_bugs};

/// What a debug build looks through in a few seconds.
const SMALL: Limits = Limits { max_states: 150_000, until: None };

/// Configurations that are exhausted here.
const EXHAUSTED: [&str; 16] = [
    "opposite",
    "opposite-crash",
    "absent-anchor-guarded",
    "view",
    "errors",
    "two-errors",
    "watermarks",
    "settled",
    "refusals",
    "incarnations",
    "opened-and-closed",
    "created",
    "absent-anchor",
    "leases-reader",
    "calls-hedged",
    "journal",
];

#[test]
fn small_configurations_are_exhausted_and_hold() {
    for name in EXHAUSTED {
        let report = exhaust(named(name).expect("a configuration"), &SMALL);
        assert!(matches!(report.verdict, Verdict::Holds), "{report:#?}");
    }
}

#[test]
fn seeded_bugs_are_found() {
    for bug in seeded_bugs() {
        let report = find(&bug, &SMALL);
        assert!(matches!(report.verdict, Verdict::Violated(_)), "{}: {report:#?}", bug.name);
    }
}

#[test]
fn names_are_unique() {
    let configs = all();
    let names: BTreeSet<_> = configs.iter().map(|config| config.name()).collect();
    assert_eq!(names.len(), configs.len());
    let bugs = seeded_bugs();
    let names: BTreeSet<_> = bugs.iter().map(|bug| bug.name).collect();
    assert_eq!(names.len(), bugs.len());
    assert!(bugs.iter().all(|bug| named(bug.config).is_some()));
}
