//! Runs scenarios, whole or with a rule broken.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use rpc::testing::{Broken, Rule};

use super::World;
use super::network::Network;
use crate::panics;

/// The virtual time that a scenario may take. One that waits for what never happens ends here.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs a scenario. Prints a sequence diagram if it fails.
///
/// # Panics
/// If the scenario fails, or anything that it started panics.
pub fn holds(scenario: impl AsyncFnOnce(World)) {
    let network = Network::new();
    if let Err(panic) = run(&network, scenario) {
        if !panics::are_expected() {
            eprintln!("{}", network.trace().diagram());
        }
        resume_unwind(panic);
    }
}

/// Runs a scenario with a rule broken.
///
/// # Panics
/// If the scenario does not fail: then it does not test the rule.
pub fn must_fail_without(rule: Rule, scenario: impl AsyncFnOnce(World)) {
    let network = Network::new();
    if !fails(rule, &network, scenario) {
        eprintln!("{}", network.trace().diagram());
        panic!("the scenario does not notice that {rule:?} is broken");
    }
}

/// Whether a scenario fails with a rule broken.
#[must_use]
pub fn fails_without(rule: Rule, scenario: impl AsyncFnOnce(World)) -> bool {
    fails(rule, &Network::new(), scenario)
}

/// Runs a scenario and returns the diagram of what happened.
///
/// # Panics
/// If the scenario fails.
pub fn trace_of(scenario: impl AsyncFnOnce(World)) -> String {
    let network = Network::new();
    run(&network, scenario).unwrap_or_else(|panic| resume_unwind(panic));
    network.trace().diagram()
}

fn fails(rule: Rule, network: &Network, scenario: impl AsyncFnOnce(World)) -> bool {
    let broken = Broken::rule(rule);
    let ended = panics::quietly(|| run(network, scenario));
    drop(broken);
    ended.is_err()
}

fn run(network: &Network, scenario: impl AsyncFnOnce(World)) -> std::thread::Result<()> {
    contained(LIMIT, async || scenario(World::new(network.clone())).await)
}

/// Runs something on virtual time, no longer than `limit` of it. What panics, a task or the thing
/// itself, and what does not end is an error.
///
/// # Errors
/// The panic.
pub fn contained<T>(limit: Duration, run: impl AsyncFnOnce() -> T) -> std::thread::Result<T> {
    contained_on(true, limit, run)
}

fn contained_on<T>(
    virtual_time: bool,
    limit: Duration,
    run: impl AsyncFnOnce() -> T,
) -> std::thread::Result<T> {
    let before = panics::count();
    catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(virtual_time)
            .build()
            .expect("a runtime without I/O can always be made");
        let ended = runtime.block_on(async { tokio::time::timeout(limit, run()).await });
        drop(runtime);
        assert_eq!(panics::count(), before, "a task panicked");
        ended.unwrap_or_else(|_| panic!("it did not end within {limit:?} "))
    }))
}

/// Runs a whole test without printing why it fails.
///
/// # Errors
/// Why it fails.
pub fn silently(test: impl FnOnce()) -> Result<(), String> {
    // Counting replaces what prints.
    panics::count();
    panics::quietly(|| catch_unwind(AssertUnwindSafe(test))).map_err(said)
}

/// As [`contained`], without printing panics, and with what went wrong as text.
///
/// # Errors
/// What went wrong.
pub fn quietly<T>(limit: Duration, run: impl AsyncFnOnce() -> T) -> Result<T, String> {
    quietly_on(true, limit, run)
}

/// As [`quietly`], on real time: for what other threads have a part in.
///
/// # Errors
/// What went wrong.
pub fn quietly_with_threads<T>(limit: Duration, run: impl AsyncFnOnce() -> T) -> Result<T, String> {
    quietly_on(false, limit, run)
}

fn quietly_on<T>(
    virtual_time: bool,
    limit: Duration,
    run: impl AsyncFnOnce() -> T,
) -> Result<T, String> {
    panics::quietly(|| contained_on(virtual_time, limit, run)).map_err(said)
}

fn said(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
