//! What the macros say about mistakes. What they take is in `macros_accept`.
//!
//! Messages are compared to the `.stderr` file beside each case. After a change that is meant, run
//! this test with `TRYBUILD=overwrite` and read the difference.

use std::process::Command;

/// The compiler whose own words stand in `ui/rustc/*.stderr`.
const RECORDED_WITH: &str = "rustc 1.95.";

#[test]
fn mistakes_are_reported_with_what_to_write_instead() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/service/*.rs");
    cases.compile_fail("tests/ui/document/*.rs");
    cases.compile_fail("tests/ui/schema/*.rs");
    if runs_recorded_compiler() {
        cases.compile_fail("tests/ui/rustc/*.rs");
    } else {
        eprintln!("ui/rustc is left out: its messages were recorded with {RECORDED_WITH}*");
    }
}

fn runs_recorded_compiler() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc runs");
    String::from_utf8_lossy(&output.stdout).starts_with(RECORDED_WITH)
}
