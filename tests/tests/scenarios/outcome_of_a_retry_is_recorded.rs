//! Only a first attempt may end tentatively: what a retry ended with is recorded even without
//! writes, or a zombie of the first attempt could still move the money.

use rpc::error::CallError;
use rpc::testing::Rule;
use rpc_tests::world::{Fate, Insufficient, Point, World, holds, must_fail_without};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| {
        let lost = frame.client == "client" && frame.to("A") && !frame.is_attempt(1, 1);
        if lost { Fate::Lose } else { Fate::Deliver }
    });
    let zombie = world.gates.close("A", "rent", Point::Start);
    let ended = ledger.withdraw("alice".into(), 10, "rent".into()).await;
    assert!(matches!(ended, Err(CallError::Business(Insufficient { held: 0 }))), "{ended:?}");
    world.assert_runs("rent", &["A", "B"]);

    let other = world.client("other", &["B"]).await;
    other.deposit("alice".into(), 100, "salary".into()).await.unwrap();
    zombie.open();
    world.pause(100).await;
    world.assert_effects("alice", &["salary"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn outcome_of_a_retry_is_recorded() {
    holds(scenario);
}

#[test]
fn it_takes_the_record() {
    must_fail_without(Rule::RecordOutcomeOfRetry, scenario);
}
