//! A server that freezes is no lost call, and one that goes on is no second effect.

use rpc::testing::Rule;
use rpc_tests::world::{World, holds, must_fail_without, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.freeze("A");
    for reference in ["one", "two", "three"] {
        ledger.deposit("alice".into(), 1, reference.into()).await.unwrap();
    }
    assert!(stats(&ledger).failovers >= 1);
    world.network.thaw("A");
    world.pause(5_000).await;
    for reference in ["four", "five"] {
        ledger.deposit("alice".into(), 1, reference.into()).await.unwrap();
    }
    world.assert_effects("alice", &["one", "two", "three", "four", "five"]).await;
    assert!(world.server_stats("A").requests >= 2, "what it had on the wire, and new calls");
}

#[cfg_attr(test, test)]
pub(crate) fn frozen_server() {
    holds(scenario);
}

#[test]
fn it_takes_the_check_at_commit() {
    must_fail_without(Rule::CheckIdAtCommit, scenario);
}
