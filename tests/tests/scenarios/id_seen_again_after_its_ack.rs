//! The record if it is still kept, else `Stale`; never executed.

use rpc::error::Refusal;
use rpc::testing::{ResponseStatus, Rule};
use rpc_tests::world::{Fate, Frame, Point, World, holds, must_fail_without};

const STALE: ResponseStatus = ResponseStatus::Never(Refusal::Stale);

async fn below_the_watermark(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    // B hears of nothing, so that only the store can stop it.
    world.network.script(|frame| if frame.on("B") { Fate::Lose } else { Fate::Deliver });
    for reference in ["first", "second", "third"] {
        ledger.deposit("alice".into(), 10, reference.into()).await.unwrap();
    }
    let trace = world.network.trace();
    let first = trace.find(|frame| frame.is_request(1)).unwrap();
    assert!(first.to("A"));

    // The server that knows, and one whose tables know nothing of it: the store does.
    world.network.replay_to(first, "A").await;
    world.network.replay_to(first, "B").await;
    world.assert_effects("alice", &["first", "second", "third"]).await;
    let trace = world.network.trace();
    for server in ["A", "B"] {
        let stale = |frame: &Frame| frame.from(server) && frame.is_response(1) && frame.says(STALE);
        assert_eq!(trace.count(stale), 1, "{server} says so:\n{}", trace.diagram());
    }
}

async fn above_the_watermark(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    let gate = world.gates.close("A", "slow", Point::Start);
    let slow = tokio::spawn(ledger.deposit("alice".into(), 1, "slow".into()));
    gate.reached().await;
    ledger.deposit("bob".into(), 10, "quick".into()).await.unwrap();
    world.pause(100).await;
    let trace = world.network.trace();
    let quick = trace.find(|frame| frame.is_request(2)).unwrap();
    assert!(quick.to("B"));
    let acked = |frame: &Frame| frame.watermark() == Some(1) && !frame.is_any_request();
    assert!(trace.find(acked).is_some(), "B was told:\n{}", trace.diagram());

    // B was told that the client has it; A only finds the record.
    world.network.replay_to(quick, "B").await;
    world.network.replay_to(quick, "A").await;
    let trace = world.network.trace();
    let answers: Vec<&Frame> = trace.frames().filter(|frame| frame.is_response(2)).collect();
    assert!(answers[1].from("B") && answers[1].says(STALE));
    assert!(answers[2].from("A") && answers[2].is_committed());
    gate.open();
    slow.await.unwrap().unwrap();
    world.assert_effects("bob", &["quick"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn id_seen_again_after_its_ack() {
    holds(below_the_watermark);
}

#[cfg_attr(test, test)]
pub(crate) fn id_seen_again_while_its_record_is_kept() {
    holds(above_the_watermark);
}

#[test]
fn it_takes_stale_below_the_watermark() {
    must_fail_without(Rule::StaleAfterAck, below_the_watermark);
}

#[test]
fn it_takes_the_check_at_commit() {
    must_fail_without(Rule::CheckIdAtCommit, above_the_watermark);
}
