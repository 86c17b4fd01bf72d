//! The retry finds business pending → `IN_PROGRESS`, which is no time-out and does not count toward
//! offline; the deadline bounds it.

use rpc::testing::{ResponseStatus, Rule};
use rpc_tests::world::{Point, World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    let gate = world.gates.close("A", "slow", Point::Start);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "slow".into()));
    gate.reached().await;
    world.pause(8_000).await;
    gate.open();
    assert_eq!(call.await.unwrap().unwrap(), 10);

    world.assert_effects("alice", &["slow"]).await;
    world.assert_runs("slow", &["A"]);
    let trace = world.network.trace();
    assert!(trace.sends(1).iter().all(|(server, _)| *server == "A"), "nobody else is asked");
    assert!(trace.count(|frame| frame.says(ResponseStatus::InProgress)) >= 2);
    let stats = stats(&ledger);
    assert_eq!(stats.timeouts, 1, "only before the server had said that it runs");
    assert_eq!((stats.suspicions, stats.failovers), (0, 0));
}

#[cfg_attr(test, test)]
pub(crate) fn business_slow() {
    holds(scenario);
}

#[test]
fn it_takes_in_progress_for_life() {
    must_fail_without(Rule::InProgressIsLife, scenario);
}
