//! Pending → business pending → commit → response ack pending → response; the next message's ack
//! drops it.

use rpc::testing::Rule;
use rpc_tests::world::{World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    assert_eq!(ledger.deposit("alice".into(), 10, "first".into()).await.unwrap(), 10);
    assert_eq!(ledger.deposit("alice".into(), 5, "second".into()).await.unwrap(), 15);

    world.assert_effects("alice", &["first", "second"]).await;
    let trace = world.network.trace();
    assert_eq!(trace.sends(1), [("A", 1)]);
    let answer = trace.find(|frame| frame.is_response(1)).unwrap();
    assert!(answer.is_committed() && !answer.is_resend());
    let second = trace.find(|frame| frame.is_request(2)).unwrap();
    assert_eq!(second.watermark(), Some(2), "the second request acknowledges the first response");
    assert_eq!(stats(&ledger).retries, 0);
    assert_eq!(world.server_stats("A").committed, 2);
}

#[cfg_attr(test, test)]
pub(crate) fn no_error() {
    holds(scenario);
}

#[test]
fn it_takes_acks_that_hitchhike() {
    must_fail_without(Rule::AcksHitchhike, scenario);
}
