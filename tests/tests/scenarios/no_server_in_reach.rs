//! Every call ends within its deadline and its grace, also when nobody answers.

use std::time::Duration;

use rpc::error::{CallError, NotExecuted, Unknown};
use rpc_tests::world::{World, holds};
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(5);

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let config = World::client_config().settle_grace(Duration::from_secs(2));
    let ledger = world.client_with("client", &["A", "B"], config).await;
    let reached = Instant::now();
    world.network.freeze("A");
    world.network.freeze("B");
    let ended = ledger.deposit("alice".into(), 10, "frozen".into()).deadline(DEADLINE).await;
    assert!(matches!(ended, Err(CallError::OutcomeUnknown(_, Unknown::NoAnswer))), "{ended:?}");
    assert_eq!(reached.elapsed().as_secs(), 7);

    world.crash("A").await;
    world.crash("B").await;
    world.network.thaw("A");
    world.network.thaw("B");
    world.pause(100).await;
    let begun = Instant::now();
    let ended = ledger.deposit("alice".into(), 10, "stopped".into()).deadline(DEADLINE).await;
    let reached = matches!(&ended, Err(CallError::NotExecuted(NotExecuted::NotConnected(_))));
    assert!(reached, "{ended:?}");
    assert_eq!(begun.elapsed().as_secs(), 5);

    world.start(&["B"]);
    assert_eq!(ledger.deposit("alice".into(), 10, "back".into()).await.unwrap(), 10);
    world.assert_effects("alice", &["back"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn no_server_in_reach() {
    holds(scenario);
}
