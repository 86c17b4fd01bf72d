//! The watermark stops at the first incomplete call, however many above it are complete.

use rpc::testing::Rule;
use rpc_tests::world::{Frame, Point, World, holds, must_fail_without};

async fn scenario(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    let gate = world.gates.close("A", "gap", Point::Start);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "gap".into()));
    gate.reached().await;
    for reference in ["two", "three", "four"] {
        ledger.deposit("bob".into(), 1, reference.into()).await.unwrap();
    }
    world.pause(100).await;
    // The server forgets all, and hears of the gap again only after the others.
    world.crash("A").await;
    gate.open();
    world.start(&["A"]);
    assert_eq!(call.await.unwrap().unwrap(), 10);
    world.assert_effects("alice", &["gap"]).await;
    world.assert_effects("bob", &["two", "three", "four"]).await;
    let trace = world.network.trace();
    let before = trace.frames().take_while(|frame| frame.connection == 1);
    assert_eq!(before.filter_map(Frame::watermark).max(), Some(1), "{}", trace.diagram());
}

#[cfg_attr(test, test)]
pub(crate) fn ack_up_to_the_gap() {
    holds(scenario);
}

#[test]
fn it_takes_the_rule() {
    must_fail_without(Rule::AckUpToGap, scenario);
}
