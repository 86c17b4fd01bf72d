//! Every single point at which a server can crash, of every kind of call, and the pairs of the small
//! ones. `cargo run --release -p rpc-tests --bin crash-points` runs all pairs, and triples.

use rpc::testing::{Broken, Rule};
use rpc_tests::crash_points::{Blow, Case, Report, Settings, Violation, explore, replay};

fn must_hold(settings: &Settings) -> Report {
    let report = explore(settings, |_| {}).unwrap_or_else(|violation| panic!("{violation}"));
    let gaps = report.gaps(settings);
    assert!(gaps.is_empty(), "not one run of {gaps:?}");
    report
}

#[test]
fn every_single_point_of_every_kind() {
    let report = must_hold(&Settings { power: false, ..Settings::singles() });
    let total = report.total();
    assert!(total.points > 300 && total.others > 800, "{total:?}");
    assert!(report.cases.values().all(|counts| counts.points == 2 * counts.steps), "{report:?}");
}

#[test]
fn every_pair_of_crashes_of_the_small_kinds() {
    let cases = vec![Case::Read, Case::Write, Case::Error, Case::Acknowledged];
    let settings = Settings {
        cases,
        blows: vec![Blow::Crash],
        triples: 0,
        dropped: false,
        power: false,
        ..Settings::all()
    };
    let report = must_hold(&settings);
    assert!(report.total().pairs > 200, "{report:?}");
    assert!(report.cases.values().all(|counts| !counts.is_cut), "no budget cuts it short");
}

#[test]
fn a_place_is_named_and_run_again() {
    let held = replay("transfer:9,4").expect("it holds");
    assert!(held.starts_with("transfer:9,4 holds; struck at [("), "{held}");
    let held = replay("write/trouble:5").expect("it holds");
    assert!(held.starts_with("write/trouble:5 holds"), "{held}");
    assert!(replay("dropped/two:3,9").expect("it holds").contains("two:3,9"));
    assert!(replay("power/cut:17/2").expect("it holds").contains("cut:17/2"));
    for nonsense in ["transfer", "transfers:1", "transfer:x", "transfer/fire:1", "power/cut:1/9"] {
        let refused: Box<Violation> = replay(nonsense).expect_err("it names no place");
        assert!(!refused.what.contains('\n'), "one clear line: {refused}");
    }
}

/// A broken rule is found, and the place that is named shows it again until the rule is whole.
#[test]
fn a_violation_names_its_place() {
    let settings = Settings {
        cases: vec![Case::ErrorOnRetry],
        blows: vec![Blow::Crash],
        dropped: false,
        power: false,
        ..Settings::singles()
    };
    let broken = Broken::rule(Rule::RecordOutcomeOfRetry);
    let found = explore(&settings, |_| {}).expect_err("the rule is broken");
    assert!(found.place.starts_with("error-on-retry:"), "{found}");
    assert!(found.what.contains("nothing is recorded"), "{found}");
    replay(&found.place).expect_err("it is still broken");
    drop(broken);
    replay(&found.place).expect("the rule is whole again");
}
