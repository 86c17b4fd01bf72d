//! Endpoint suspect → next server with the next attempt and the retry bit. Late responses of the
//! first are still taken if committed, and show that it lives.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, Point, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| if frame.to("A") { Fate::Hold } else { Fate::Deliver });
    let gate = world.gates.close("B", "late", Point::End);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "late".into()));
    gate.reached().await;
    let trace = world.network.trace();
    assert_eq!(trace.sends(1)[..3], [("A", 1), ("A", 2), ("B", 3)]);
    assert_eq!(stats(&ledger).suspicions, 1);

    // What was sent to A arrives after all, and A is the first to do it.
    world.network.deliver_all();
    world.network.release().await;
    assert_eq!(call.await.unwrap().unwrap(), 10, "a late answer counts, since it is committed");
    gate.open();
    world.pause(100).await;
    world.assert_effects("alice", &["late"]).await;
    world.assert_runs("late", &["B", "A"]);
    let answers = world.network.trace().count(|frame| frame.is_response(1) && frame.is_committed());
    assert_eq!(stats(&ledger).dropped_responses, answers as u64 - 1, "one of them counted");

    // Its answer has brought it back.
    for reference in ["x", "y"] {
        ledger.deposit("bob".into(), 1, reference.into()).await.unwrap();
    }
    assert_eq!(stats(&ledger).suspicions, 1);
    assert!(world.network.trace().count(|frame| frame.to("A") && frame.is_any_request()) > 2);
}

#[cfg_attr(test, test)]
pub(crate) fn lost_twice() {
    holds(scenario);
}

#[test]
fn it_takes_suspicion() {
    must_fail_without(Rule::SuspectEndpoint, scenario);
}
