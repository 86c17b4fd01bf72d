//! Not pending → dropped.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, Point, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    world.network.script(|frame| if frame.is_response(2) { Fate::Twice } else { Fate::Deliver });
    let gate = world.gates.close("A", "slow", Point::Start);
    let slow = tokio::spawn(ledger.deposit("alice".into(), 10, "slow".into()));
    gate.reached().await;
    assert_eq!(ledger.deposit("bob".into(), 20, "quick".into()).await.unwrap(), 20);
    world.pause(10).await;
    assert!(!slow.is_finished(), "the copy is nobody's answer");
    assert_eq!(stats(&ledger).dropped_responses, 1);
    gate.open();
    assert_eq!(slow.await.unwrap().unwrap(), 10);
    world.assert_effects("alice", &["slow"]).await;
    world.assert_effects("bob", &["quick"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn duplicate_response() {
    holds(scenario);
}

#[test]
fn it_takes_the_dropping_of_duplicates() {
    must_fail_without(Rule::DropDuplicateResponses, scenario);
}
