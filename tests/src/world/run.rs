//! Runs scenarios, whole or with a rule broken.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;
use std::time::Duration;

use rpc::testing::{Broken, Rule};

use super::World;
use super::network::Network;

/// The virtual time that a scenario may take. One that waits for what never happens ends here.
const LIMIT: Duration = Duration::from_secs(600);

thread_local! {
    /// Whether panics of this thread are expected, and so not printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// How often this thread has panicked.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Runs a scenario. Prints a sequence diagram if it fails.
///
/// # Panics
/// If the scenario fails, or anything that it started panics.
pub fn holds(scenario: impl AsyncFnOnce(World)) {
    let network = Network::new();
    if let Err(panic) = run(&network, scenario) {
        eprintln!("{}", network.trace().diagram());
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
    QUIET.set(true);
    let ended = run(network, scenario);
    QUIET.set(false);
    drop(broken);
    ended.is_err()
}

fn run(network: &Network, scenario: impl AsyncFnOnce(World)) -> std::thread::Result<()> {
    count_panics();
    let before = PANICS.get();
    catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O can always be made");
        runtime.block_on(async {
            let world = World::new(network.clone());
            if tokio::time::timeout(LIMIT, scenario(world)).await.is_err() {
                panic!("the scenario did not end");
            }
        });
        drop(runtime);
        assert_eq!(PANICS.get(), before, "a task panicked");
    }))
}

/// Counts the panics of each thread, those in tasks among them, and prints those that are not
/// expected.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            if !QUIET.get() {
                print(info);
            }
        }));
    });
}
