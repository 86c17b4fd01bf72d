//! A server that is being shut down tells its clients to move on, finishes what runs, within its
//! limit, and costs no call more than a retry.

use std::time::Duration;

use rpc::ServerConfig;
use rpc::testing::{FrameView, Rule};
use rpc_tests::world::{Frame, Point, World, holds, must_fail_without, stats};

async fn what_runs_is_finished(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    let gate = world.gates.close("A", "running", Point::End);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "running".into()));
    gate.reached().await;
    world.shut_down("A");
    world.pause(100).await;
    for reference in ["one", "two", "three", "four"] {
        ledger.deposit("bob".into(), 1, reference.into()).await.unwrap();
    }
    assert!(!world.has_ended("A"), "it finishes what runs");
    gate.open();
    assert_eq!(call.await.unwrap().unwrap(), 10);
    world.pause(100).await;
    assert!(world.has_ended("A"));

    let trace = world.network.trace();
    let go_away = |frame: &Frame| frame.from("A") && matches!(frame.view, FrameView::GoAway);
    assert_eq!(trace.count(go_away), 1);
    let to_a = |frame: &Frame| frame.to("A") && frame.is_any_request();
    assert_eq!(trace.count(to_a), 1, "only the call that ran:\n{}", trace.diagram());
    assert_eq!((stats(&ledger).refused, stats(&ledger).retries), (0, 0));
    world.assert_runs("running", &["A"]);
}

async fn within_its_limit(mut world: World) {
    world.start_with("A", ServerConfig::default().shutdown_limit(Duration::from_secs(3)));
    world.start(&["B"]);
    let ledger = world.client("client", &["A", "B"]).await;
    let gate = world.gates.close("A", "stuck", Point::End);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "stuck".into()));
    gate.reached().await;
    world.shut_down("A");
    world.pause(2_900).await;
    assert!(!world.has_ended("A"));
    world.pause(200).await;
    assert!(world.has_ended("A"), "the limit has passed");
    assert_eq!(call.await.unwrap().unwrap(), 10, "another server does it");
    gate.open();
    world.pause(100).await;
    world.assert_effects("alice", &["stuck"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn graceful_shutdown_moves_clients() {
    holds(what_runs_is_finished);
}

#[cfg_attr(test, test)]
pub(crate) fn graceful_shutdown_has_a_limit() {
    holds(within_its_limit);
}

#[test]
fn it_takes_the_word_to_the_clients() {
    must_fail_without(Rule::TellClientsToMove, what_runs_is_finished);
}
