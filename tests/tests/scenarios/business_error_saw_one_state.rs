//! A business error that read several documents is answered only after their versions were checked
//! again: else it may rest on a state that never was.

use rpc::error::CallError;
use rpc::testing::Rule;
use rpc_tests::world::{Point, Sum, World, holds, must_fail_without};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A"]).await;
    let other = world.client("other", &["B"]).await;
    other.deposit("alice".into(), 100, "salary".into()).await.unwrap();
    let gate = world.gates.close("A", "compare", Point::Between);
    let call = tokio::spawn(ledger.compare("alice".into(), "bob".into(), "compare".into()));
    gate.reached().await;
    other.transfer("alice".into(), "bob".into(), 40, "rent".into()).await.unwrap();
    gate.open();
    let ended = call.await.unwrap();
    assert!(matches!(ended, Err(CallError::Business(Sum(100)))), "{ended:?}");
    world.assert_runs("compare", &["A", "A"]);
}

#[cfg_attr(test, test)]
pub(crate) fn business_error_saw_one_state() {
    holds(scenario);
}

#[test]
fn it_takes_the_second_look() {
    must_fail_without(Rule::ConfirmReads, scenario);
}
