//! A second server is asked before the first one's time is up: one of the two takes effect.

use std::time::Duration;

use rpc::Hedge;
use rpc::testing::Rule;
use rpc_tests::world::{Point, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    let slow = world.gates.close("A", "hedged", Point::End);
    let hedge = Hedge::After(Duration::from_millis(50));
    let call = ledger.deposit("alice".into(), 10, "hedged".into()).hedge(hedge);
    assert_eq!(call.await.unwrap(), 10);
    let trace = world.network.trace();
    assert_eq!(trace.sends(1), [("A", 1), ("B", 2)]);
    slow.open();
    world.pause(100).await;
    world.assert_effects("alice", &["hedged"]).await;
    world.assert_runs("hedged", &["A", "B"]);
    let stats = stats(&ledger);
    assert_eq!((stats.hedges, stats.timeouts, stats.suspicions), (1, 0, 0));
}

#[cfg_attr(test, test)]
pub(crate) fn hedging_executes_once() {
    holds(scenario);
}

#[test]
fn it_takes_the_check_at_commit() {
    must_fail_without(Rule::CheckIdAtCommit, scenario);
}
