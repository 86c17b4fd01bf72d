//! Retries spend a budget: a sick cluster is not stormed. What cannot be paid for now waits.

use std::time::Duration;

use rpc::testing::Rule;
use rpc_tests::world::{Fate, TIMEOUT, World, holds, must_fail_without};

/// More calls than may be sent again at once.
const CALLS: usize = 1_500;
/// What may be sent again at once, after a quiet time.
const BURST: usize = 1_024;

async fn scenario(mut world: World) {
    world.start(&["A"]);
    let config = World::client_config().deadline(Duration::from_secs(300));
    let ledger = world.client_with("client", &["A"], config).await;
    world.network.script(|frame| if frame.is_any_request() { Fate::Lose } else { Fate::Deliver });
    let calls: Vec<_> =
        (0..CALLS).map(|call| tokio::spawn(ledger.echo(call.to_string()))).collect();
    world.pause(u64::try_from(TIMEOUT.as_millis()).unwrap() + 500).await;
    let trace = world.network.trace();
    let retries = trace.count(|frame| frame.is_any_request() && frame.attempt() > Some(1));
    // A half second earns five more.
    assert!((BURST..=BURST + 6).contains(&retries), "{retries} retries in the first half second");

    world.network.deliver_all();
    for (call, echo) in calls.into_iter().enumerate() {
        assert_eq!(echo.await.unwrap().unwrap(), call.to_string());
    }
}

#[cfg_attr(test, test)]
pub(crate) fn retry_budget() {
    holds(scenario);
}

#[test]
fn it_takes_the_budget() {
    must_fail_without(Rule::RetryBudget, scenario);
}
