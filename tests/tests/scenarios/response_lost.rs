//! Response ack pending → re-sent, response retry bit set.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| {
        if frame.is_response(1) && frame.attempt() == Some(1) { Fate::Lose } else { Fate::Deliver }
    });
    assert_eq!(ledger.deposit("alice".into(), 10, "done".into()).await.unwrap(), 10);

    world.assert_effects("alice", &["done"]).await;
    world.assert_runs("done", &["A"]);
    let trace = world.network.trace();
    assert_eq!(trace.sends(1), [("A", 1), ("A", 2)]);
    let again = trace.find(|frame| frame.is_response(1) && frame.attempt() == Some(2)).unwrap();
    assert!(again.is_resend() && again.is_committed(), "{again}");
    assert_eq!(world.server_stats("A").replayed_from_table, 1);
    assert_eq!(stats(&ledger).resent_responses, 1);
}

#[cfg_attr(test, test)]
pub(crate) fn response_lost() {
    holds(scenario);
}

#[test]
fn it_takes_responses_kept_until_acknowledged() {
    must_fail_without(Rule::KeepUntilAcked, scenario);
}

#[test]
fn it_takes_the_count_of_attempts() {
    must_fail_without(Rule::CountAttempts, scenario);
}
