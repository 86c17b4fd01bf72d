//! A server that comes back with an old request reads what the retry left behind: its commit finds
//! the record, or learns that the id is stale. The comparison of versions would not stop it.

use rpc::error::Refusal;
use rpc::testing::{ResponseStatus, Rule};
use rpc_tests::world::{Fate, Frame, Point, World, holds, must_fail_without};

/// Freezes A before its first read, until the client has gone on to B.
async fn until_b_has_answered(
    mut world: World,
) -> (World, rpc_tests::world::LedgerClient, rpc_tests::world::Gate) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| {
        // What A was told later never arrives, so that it has the first attempt alone.
        let lost = frame.on("A") && !frame.is_attempt(1, 1);
        if lost { Fate::Lose } else { Fate::Deliver }
    });
    let gate = world.gates.close("A", "zombie", Point::Start);
    assert_eq!(ledger.deposit("alice".into(), 10, "zombie".into()).await.unwrap(), 10);
    world.assert_runs("zombie", &["A", "B"]);
    (world, ledger, gate)
}

async fn it_finds_the_record(world: World) {
    let (world, _ledger, gate) = until_b_has_answered(world).await;
    gate.open();
    world.pause(100).await;
    world.assert_effects("alice", &["zombie"]).await;
    let trace = world.network.trace();
    let answer = |frame: &Frame| frame.from("A") && frame.is_response(1) && frame.is_committed();
    assert!(trace.find(answer).is_some(), "{}", trace.diagram());
    assert_eq!(world.server_stats("A").replayed_from_record, 1);
}

async fn it_is_stale(world: World) {
    let (world, ledger, gate) = until_b_has_answered(world).await;
    for reference in ["next", "after"] {
        ledger.deposit("alice".into(), 1, reference.into()).await.unwrap();
    }
    gate.open();
    world.pause(100).await;
    world.assert_effects("alice", &["zombie", "next", "after"]).await;
    let trace = world.network.trace();
    let stale = ResponseStatus::Never(Refusal::Stale);
    let answer = |frame: &Frame| frame.from("A") && frame.is_response(1) && frame.says(stale);
    assert!(trace.find(answer).is_some(), "{}", trace.diagram());
}

#[cfg_attr(test, test)]
pub(crate) fn zombie_server() {
    holds(it_finds_the_record);
}

#[cfg_attr(test, test)]
pub(crate) fn zombie_server_after_the_ack() {
    holds(it_is_stale);
}

#[test]
fn it_takes_the_check_at_commit() {
    must_fail_without(Rule::CheckIdAtCommit, it_finds_the_record);
    must_fail_without(Rule::CheckIdAtCommit, it_is_stale);
}

#[test]
fn it_takes_stale_below_the_watermark() {
    must_fail_without(Rule::StaleAfterAck, it_is_stale);
}
