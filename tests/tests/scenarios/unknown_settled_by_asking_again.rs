//! A call whose outcome is unknown is settled by asking again with its id: the result if it took
//! effect, and if not, it takes effect now, once, or never.

use std::time::Duration;

use rpc::error::{CallError, NotExecuted, Unknown};
use rpc::service::NoError;
use rpc::testing::Rule;
use rpc::{Call, CallId, Message};
use rpc_tests::world::{Fate, LedgerClient, World, holds, must_fail_without, stats};

const DEADLINE: Duration = Duration::from_secs(2);

/// Makes call 1, of which nobody hears.
async fn lose_track(
    world: &mut World,
    lost: fn(&rpc_tests::world::Frame) -> bool,
) -> (LedgerClient, CallId) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    world.network.script(move |frame| if lost(frame) { Fate::Lose } else { Fate::Deliver });
    let call = ledger.deposit("alice".into(), 10, "unknown".into()).deadline(DEADLINE);
    let ended = call.await;
    let Err(CallError::OutcomeUnknown(id, Unknown::NoAnswer)) = ended else {
        panic!("nobody can know: {ended:?}")
    };
    assert_eq!(stats(&ledger).unknown, 1);
    (ledger, id)
}

fn again(ledger: &LedgerClient, id: CallId) -> Call<impl Message, u64, NoError> {
    ledger.deposit("alice".into(), 10, "unknown".into()).ask_again(id)
}

async fn it_took_effect(mut world: World) {
    let (ledger, id) = lose_track(&mut world, |frame| frame.is_response(1)).await;
    // Other calls go on, and what they acknowledge does not reach past it.
    for reference in ["next", "after"] {
        ledger.deposit("bob".into(), 1, reference.into()).await.unwrap();
    }
    let other = ledger.deposit("alice".into(), 11, "unknown".into()).ask_again(id).await;
    let reused = matches!(other, Err(CallError::NotExecuted(NotExecuted::IdReused)));
    assert!(reused, "an id has one set of arguments: {other:?}");

    world.network.deliver_all();
    assert_eq!(again(&ledger, id).await.unwrap(), 10);
    world.assert_effects("alice", &["unknown"]).await;
    let twice = again(&ledger, id).await;
    let gone = matches!(twice, Err(CallError::OutcomeUnknown(_, Unknown::Stale)));
    assert!(gone, "its result was taken: {twice:?}");
    world.assert_effects("alice", &["unknown"]).await;
}

async fn it_was_settled_meanwhile(mut world: World) {
    let (ledger, id) = lose_track(&mut world, |frame| frame.is_response(1)).await;
    world.network.deliver_all();
    world.pause(10_000).await;
    let requests = world.network.trace().count(|frame| frame.is_request(1));
    assert_eq!(again(&ledger, id).await.unwrap(), 10);
    assert_eq!(world.network.trace().count(|frame| frame.is_request(1)), requests, "it was known");
    world.assert_effects("alice", &["unknown"]).await;
}

async fn it_never_arrived(mut world: World) {
    let (ledger, id) = lose_track(&mut world, |frame| frame.is_any_request()).await;
    world.network.deliver_all();
    world.pause(10_000).await;
    let ended = again(&ledger, id).await;
    let aborted = matches!(ended, Err(CallError::NotExecuted(NotExecuted::Aborted(_))));
    assert!(aborted, "the client has seen to it that it never will: {ended:?}");
    world.assert_effects("alice", &[]).await;
}

async fn it_takes_effect_now(mut world: World) {
    let (ledger, id) = lose_track(&mut world, |frame| frame.is_any_request()).await;
    let call = tokio::spawn(again(&ledger, id));
    world.pause(1).await;
    world.network.deliver_all();
    assert_eq!(call.await.unwrap().unwrap(), 10);
    world.assert_effects("alice", &["unknown"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn unknown_settled_by_asking_again() {
    holds(it_took_effect);
}

#[cfg_attr(test, test)]
pub(crate) fn unknown_settled_in_the_background() {
    holds(it_was_settled_meanwhile);
}

#[cfg_attr(test, test)]
pub(crate) fn unknown_that_never_arrived_never_will() {
    holds(it_never_arrived);
}

#[cfg_attr(test, test)]
pub(crate) fn unknown_that_is_asked_for_may_take_effect_now() {
    holds(it_takes_effect_now);
}

#[test]
fn it_takes_a_watermark_that_stops_at_the_gap() {
    must_fail_without(Rule::AckUpToGap, it_took_effect);
}
