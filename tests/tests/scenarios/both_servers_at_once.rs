//! One commit wins; the loser throws its own result away and returns the record.

use rpc::testing::Rule;
use rpc_tests::world::{Fate, Point, World, holds, must_fail_without};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| if frame.from("A") { Fate::Hold } else { Fate::Deliver });
    let at_a = world.gates.close("A", "both", Point::End);
    let at_b = world.gates.close("B", "both", Point::End);
    let call = tokio::spawn(ledger.transfer("alice".into(), "bob".into(), 0, "both".into()));
    at_a.reached().await;
    at_b.reached().await;

    // Both have read, both are about to commit.
    at_b.open();
    assert_eq!(call.await.unwrap().unwrap(), 0);
    at_a.open();
    world.pause(100).await;
    world.assert_effects("alice", &["both"]).await;
    world.assert_effects("bob", &["both"]).await;
    assert_eq!(world.server_stats("A").replayed_from_record, 1, "A has found B's record");
    let trace = world.network.trace();
    let late = |frame: &rpc_tests::world::Frame| frame.from("A") && frame.is_committed();
    assert!(trace.find(late).is_some(), "what A says is B's outcome:\n{}", trace.diagram());
}

#[cfg_attr(test, test)]
pub(crate) fn both_servers_at_once() {
    holds(scenario);
}

#[test]
fn it_takes_the_check_at_commit() {
    must_fail_without(Rule::CheckIdAtCommit, scenario);
}
