//! Acks hitchhike on requests; one is sent alone only when there is none to travel with.

use rpc::testing::{FrameView, Rule};
use rpc_tests::world::{Frame, World, holds, must_fail_without};

async fn scenario(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    let lone = |frame: &Frame| matches!(frame.view, FrameView::Ack { .. });
    for call in 0..50 {
        ledger.echo(call.to_string()).await.unwrap();
        world.pause(5).await;
    }
    assert_eq!(world.network.trace().count(lone), 0, "each travels with the next request");
    world.pause(1_000).await;
    let trace = world.network.trace();
    let acks: Vec<_> = trace.frames().filter(|frame| lone(frame)).collect();
    assert_eq!(acks.len(), 1, "and the last goes alone, once");
    assert_eq!(acks[0].watermark(), Some(51));
}

#[cfg_attr(test, test)]
pub(crate) fn lone_ack_only_when_idle() {
    holds(scenario);
}

#[test]
fn it_takes_acks_that_hitchhike() {
    must_fail_without(Rule::AcksHitchhike, scenario);
}
