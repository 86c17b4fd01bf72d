//! The program `chaos`, briefly: that its parts run, judge, and say what they did.
#![cfg(unix)]

use std::path::PathBuf;
use std::process::{Command, Output};

use rpc_tests::chaos::{Enumeration, FaultAt, power_cuts, strace_works};
use tokio::runtime::Runtime;

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_chaos").into()
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(program()).args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code(), said)
}

#[test]
fn a_short_storm_is_clean_and_says_what_it_did() {
    let (code, said) = run(&["--only", "storm", "--minutes", "0.05", "--accounts", "3"]);
    assert_eq!(code, Some(0), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("chaos: 0 violations in 1 parts"), "{said}");
    for never in [" 0 done", " 0 kills", " 0 freezes"] {
        assert!(!last.contains(never), "{last}");
    }
}

#[cfg(feature = "couchbase")]
#[test]
fn a_short_storm_on_a_shared_store_is_clean() {
    let (code, said) = run(&["--only", "shared-storm", "--minutes", "0.05"]);
    assert_eq!(code, Some(0), "{said}");
}

#[cfg(not(feature = "couchbase"))]
#[test]
fn a_part_that_was_not_built_is_named() {
    let (code, said) = run(&["--only", "shared-storm"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--features couchbase"), "{said}");
}

/// The first call of each kind and a few more; the program takes them all.
#[test]
fn faults_at_system_calls_lose_nothing() {
    if let Err(why) = strace_works() {
        return println!("skipped: {why}");
    }
    let runtime = Runtime::new().expect("there are threads");
    for fault in FaultAt::ALL {
        let mut some = Enumeration::new(program(), fault);
        some.every = 25;
        let report = some.run(&runtime).expect("processes start");
        assert_eq!(report.wrong, Vec::<String>::new(), "{report}");
        assert!(report.figure("restarts") > 0, "{report}");
    }
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    if let Err(why) = strace_works() {
        return println!("skipped: {why}");
    }
    let runtime = Runtime::new().expect("there are threads");
    let report = power_cuts(&program(), &runtime).expect("processes start");
    assert_eq!(report.wrong, Vec::<String>::new(), "{report}");
}

#[test]
fn flags_that_cannot_be_used_are_named() {
    for (arguments, says) in [
        (&["--minutes", "soon"][..], "write minutes as 0.5 or 60"),
        (&["--minutes", "0"], "between 0.01 and 10000"),
        (&["--only", "rain"], "possible values: storm"),
        (&["--accounts", "1"], "2..=1000"),
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
