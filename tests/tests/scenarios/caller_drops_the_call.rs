//! Best-effort CANCEL; the id stays open until its outcome is settled, and every place it held is
//! free again.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Poll;

use rpc::error::AbortReason;
use rpc::testing::{FrameView, ResponseStatus, Rule};
use rpc_tests::world::{Fate, Frame, Point, World, holds, must_fail_without};

async fn while_it_runs(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    let gate = world.gates.close("A", "dropped", Point::End);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "dropped".into()));
    gate.reached().await;
    call.abort();
    world.pause(10).await;
    gate.open();
    ledger.deposit("bob".into(), 1, "next".into()).await.unwrap();

    world.assert_effects("alice", &[]).await;
    let trace = world.network.trace();
    assert_eq!(trace.count(|frame| matches!(frame.view, FrameView::Cancel { .. })), 1);
    let aborted = ResponseStatus::Aborted(AbortReason::Cancelled);
    assert!(trace.find(|frame| frame.is_response(1) && frame.says(aborted)).is_some());
    let next = trace.find(|frame| frame.is_request(2)).unwrap();
    assert_eq!(next.watermark(), Some(2), "the dropped call is settled");
    assert_eq!(world.server_stats("A").aborts, 1);
}

async fn until_it_is_settled(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    // Neither the cancel nor what the server has to say arrives.
    world.network.script(|frame| {
        let cancel = matches!(frame.view, FrameView::Cancel { .. });
        if cancel || frame.is_response(1) { Fate::Lose } else { Fate::Deliver }
    });
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "dropped".into()));
    world.network.until_sent(|frame| frame.is_response(1)).await;
    call.abort();
    world.pause(10).await;
    ledger.deposit("bob".into(), 1, "next".into()).await.unwrap();
    let before = world.network.trace();
    let next = before.find(|frame| frame.is_request(2)).unwrap();
    assert_eq!(next.watermark().unwrap_or(1), 1, "nobody knows yet how the dropped call ended");

    world.network.deliver_all();
    world.pause(10_000).await;
    let trace = world.network.trace();
    assert!(trace.frames().any(Frame::settles));
    let acked = trace.frames().filter_map(Frame::watermark).max();
    assert_eq!(acked, Some(3), "now it is known, and acknowledged");
    world.assert_effects("alice", &["dropped"]).await;
}

async fn when_it_has_ended(mut world: World) {
    world.start(&["A"]);
    let config = World::client_config().max_in_flight(2);
    let ledger = world.client_with("client", &["A"], config).await;
    for _ in 0..20 {
        let mut call = ledger.deposit("alice".into(), 1, "unheard".into());
        std::future::poll_fn(|context| {
            assert!(Pin::new(&mut call).poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        world.pause(10).await;
        // Its answer is there, and nobody takes it.
        drop(call);
    }
    ledger.deposit("alice".into(), 1, "heard".into()).await.unwrap();
    assert_eq!(world.book("alice").await.balance, 21);
}

#[cfg_attr(test, test)]
pub(crate) fn caller_drops_the_call() {
    holds(while_it_runs);
}

#[cfg_attr(test, test)]
pub(crate) fn a_dropped_call_stays_open_until_it_is_settled() {
    holds(until_it_is_settled);
}

#[cfg_attr(test, test)]
pub(crate) fn a_dropped_answer_frees_its_place() {
    holds(when_it_has_ended);
}

#[test]
fn it_takes_the_settling_of_dropped_calls() {
    must_fail_without(Rule::SettleDropped, until_it_is_settled);
}

#[test]
fn it_takes_the_freeing_of_dropped_answers() {
    must_fail_without(Rule::FreeDropped, when_it_has_ended);
}
