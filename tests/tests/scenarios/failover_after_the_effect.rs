//! The second server finds the commit record and returns its result.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| if frame.from("A") { Fate::Lose } else { Fate::Deliver });
    assert_eq!(ledger.deposit("alice".into(), 10, "done".into()).await.unwrap(), 10);

    world.assert_effects("alice", &["done"]).await;
    world.assert_runs("done", &["A"]);
    let trace = world.network.trace();
    assert_eq!(trace.sends(1), [("A", 1), ("A", 2), ("B", 3)]);
    let answer = trace.find(|frame| frame.from("B") && frame.is_response(1)).unwrap();
    assert!(answer.is_committed());
    assert_eq!(world.server_stats("B").replayed_from_record, 1);
    assert_eq!(stats(&ledger).failovers, 1);
}

#[cfg_attr(test, test)]
pub(crate) fn failover_after_the_effect() {
    holds(scenario);
}

#[test]
fn it_takes_the_look_before_the_leap() {
    must_fail_without(Rule::LookBeforeLeap, scenario);
}
