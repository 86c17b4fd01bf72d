//! A read has no effect to protect: whoever answers it is believed, and nothing is recorded.

use rpc_tests::world::{Fate, World, holds, stats};

async fn scenario(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    ledger.deposit("alice".into(), 10, "salary".into()).await.unwrap();
    let committed = world.server_stats("A").committed + world.server_stats("B").committed;
    world.network.script(|frame| {
        if frame.from("B") && frame.is_response(2) { Fate::Lose } else { Fate::Deliver }
    });
    assert_eq!(ledger.balance("alice".into(), "look".into()).await.unwrap(), 10);
    let trace = world.network.trace();
    assert_eq!(trace.sends(2).last().unwrap().0, "A", "{}", trace.diagram());
    assert_eq!(trace.count(|frame| frame.is_response(2) && frame.is_committed()), 0);
    let after = world.server_stats("A").committed + world.server_stats("B").committed;
    assert_eq!(after, committed, "a read records nothing, retried or not");
    assert_eq!(stats(&ledger).failovers, 1);
}

#[cfg_attr(test, test)]
pub(crate) fn read_asked_again() {
    holds(scenario);
}
