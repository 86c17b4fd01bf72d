//! A tentative outcome belongs to its attempt alone: a later attempt that meets one in a server's
//! table, or joins a first attempt that still runs there, has it recorded before it is answered.

use rpc::error::CallError;
use rpc::testing::{ResponseStatus, Rule};
use rpc_tests::world::{Fate, Frame, Insufficient, Point, World, holds, must_fail_without};

async fn it_is_met(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    world.network.script(|frame| {
        if frame.is_response(1) && frame.attempt() == Some(1) { Fate::Lose } else { Fate::Deliver }
    });
    let ended = ledger.withdraw("alice".into(), 10, "rent".into()).await;
    assert!(matches!(ended, Err(CallError::Business(Insufficient { held: 0 }))), "{ended:?}");
    world.assert_runs("rent", &["A"]);
    assert_it_was_recorded(&world).await;
}

async fn it_is_joined(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    let gate = world.gates.close("A", "rent", Point::End);
    let call = tokio::spawn(ledger.withdraw("alice".into(), 10, "rent".into()));
    world.network.until_sent(|frame| frame.says(ResponseStatus::InProgress)).await;
    gate.open();
    let ended = call.await.unwrap();
    assert!(matches!(ended, Err(CallError::Business(Insufficient { held: 0 }))), "{ended:?}");
    world.assert_runs("rent", &["A"]);
    assert_it_was_recorded(&world).await;
}

/// The answer that counted was committed, so the first attempt can move nothing any more, wherever
/// it turns up.
async fn assert_it_was_recorded(world: &World) {
    let trace = world.network.trace();
    let error = |frame: &Frame| frame.says(ResponseStatus::BusinessError);
    let counted = trace.frames().filter(|frame| error(frame)).last().unwrap();
    assert!(counted.attempt() > Some(1) && counted.is_committed(), "{}", trace.diagram());

    let other = world.client("other", &["B"]).await;
    other.deposit("alice".into(), 100, "salary".into()).await.unwrap();
    world.network.replay_to(trace.find(|frame| frame.is_attempt(1, 1)).unwrap(), "B").await;
    world.assert_effects("alice", &["salary"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn tentative_recorded_for_a_later_attempt() {
    holds(it_is_met);
}

#[cfg_attr(test, test)]
pub(crate) fn tentative_recorded_for_an_attempt_that_joined() {
    holds(it_is_joined);
}

#[test]
fn it_takes_the_record() {
    must_fail_without(Rule::RecordTentativeForRetry, it_is_met);
    must_fail_without(Rule::RecordTentativeForRetry, it_is_joined);
}
