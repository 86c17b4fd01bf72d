//! Pending calls were journalled before the first send; on restart they are sent again under their
//! numbers, with a higher incarnation: what the earlier life still has on the wire is fenced.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rpc::client::Stub as _;
use rpc::error::{CallError, RejectReason, Unknown};
use rpc::id::{Identity, Incarnation, SessionId};
use rpc::store::{Lease, Resume, Store as _};
use rpc::testing::{FrameView, Rule};
use rpc::time::WallTime;
use rpc_tests::world::{Disk, Fate, Frame, Point, World, holds, must_fail_without};

async fn scenario(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    ledger.deposit("alice".into(), 10, "done".into()).await.unwrap();
    let gate = world.gates.close("A", "zombie", Point::End);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "zombie".into()));
    gate.reached().await;

    come_back(&world).await;
    gate.open();
    let ended = call.await.unwrap();
    let lost = matches!(&ended, Err(CallError::OutcomeUnknown(_, Unknown::SessionClosed)));
    assert!(lost, "the earlier life is told that it is over: {ended:?}");
    world.assert_effects("alice", &["done"]).await;
}

async fn at_the_handshake(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    come_back(&world).await;
    world.network.cut("client", "A");
    world.pause(5_000).await;
    let trace = world.network.trace();
    let fenced = |frame: &Frame| {
        matches!(frame.view, FrameView::Reject { reason: RejectReason::Fenced, .. })
    };
    assert_eq!(trace.count(fenced), 1, "{}", trace.diagram());
    assert_eq!(ledger.deposit("bob".into(), 1, "new session".into()).await.unwrap(), 1);
}

async fn its_caller_comes_late(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client("client", &["A"]).await;
    let gate = world.gates.close("A", "zombie", Point::End);
    let mut call = ledger.deposit("alice".into(), 10, "zombie".into());
    std::future::poll_fn(|context| {
        assert!(Pin::new(&mut call).poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    gate.reached().await;
    come_back(&world).await;
    gate.open();
    // The session is lost and a new one is open before the caller looks.
    world.pause(5_000).await;
    ledger.deposit("bob".into(), 1, "new session".into()).await.unwrap();
    let Err(CallError::OutcomeUnknown(id, Unknown::SessionClosed)) = call.await else {
        panic!("its session was lost")
    };
    assert_eq!(id.to_string(), "c1.1", "the id that it had");
}

/// The effect is there, its answer got lost, and the client dies: the next life gets the answer.
async fn after_the_effect(mut world: World) {
    world.start(&["A", "B"]);
    let disk = Disk::default();
    let ledger = world.client_on("client", &disk, &["A"]).await;
    ledger.deposit("alice".into(), 10, "paid in".into()).await.unwrap();
    world.network.script(|frame| if frame.is_response(2) { Fate::Lose } else { Fate::Deliver });
    let call = ledger.withdraw("alice".into(), 10, "rent".into()).named("rent");
    let waiting = tokio::spawn(call);
    world.pause(10).await;
    world.assert_effects("alice", &["paid in", "rent"]).await;
    waiting.abort();
    world.kill("client", &disk, ledger, &["A"]).await;

    world.network.script(|_| Fate::Deliver);
    let ledger = world.client_on("client", &disk, &["B"]).await;
    assert_eq!(ledger.client().journalled().len(), 1, "what was told is forgotten");
    for _ in 0..2 {
        let rent = ledger.withdraw("alice".into(), 10, "rent".into()).named("rent").await;
        assert_eq!(rent.unwrap(), 0, "there was enough when it was taken");
    }
    world.assert_effects("alice", &["paid in", "rent"]).await;
    assert!(ledger.client().forget("rent"));
    let rent = ledger.withdraw("alice".into(), 10, "next".into()).named("rent").await;
    assert!(matches!(rent, Err(CallError::Business(_))), "the name is free for another: {rent:?}");
}

/// What is not written down is not sent; what was never sent is not executed in the next life.
async fn before_it_is_written_down(mut world: World) {
    world.start(&["A"]);
    let disk = Disk::default();
    let ledger = world.client_on("client", &disk, &["A"]).await;
    disk.hold(true);
    let waiting = tokio::spawn(ledger.deposit("alice".into(), 10, "lost".into()).named("lost"));
    world.pause(100).await;
    world.assert_runs("lost", &[]);
    waiting.abort();
    world.kill("client", &disk, ledger, &["A"]).await;
    disk.hold(false);

    let ledger = world.client_on("client", &disk, &["A"]).await;
    assert_eq!(ledger.client().journalled(), []);
    ledger.deposit("alice".into(), 10, "made".into()).await.unwrap();
    world.assert_effects("alice", &["made"]).await;
}

/// Nobody is told, and nothing acknowledged, before the outcome is written down.
async fn before_its_end_is_written_down(mut world: World) {
    world.start(&["A"]);
    let disk = Disk::default();
    let ledger = world.client_on("client", &disk, &["A"]).await;
    let gate = world.gates.close("A", "rent", Point::End);
    let waiting = tokio::spawn(ledger.deposit("alice".into(), 10, "rent".into()).named("rent"));
    gate.reached().await;
    disk.hold(true);
    gate.open();
    world.pause(200).await;
    assert!(!waiting.is_finished(), "its outcome could be forgotten yet");
    waiting.abort();
    world.kill("client", &disk, ledger, &["A"]).await;
    disk.hold(false);

    let ledger = world.client_on("client", &disk, &["A"]).await;
    let rent = ledger.deposit("alice".into(), 10, "rent".into()).named("rent").await;
    assert_eq!(rent.unwrap(), 10);
    world.assert_effects("alice", &["rent"]).await;
}

/// The next life's calls have numbers of their own.
async fn with_new_numbers(mut world: World) {
    world.start(&["A"]);
    let disk = Disk::default();
    let ledger = world.client_on("client", &disk, &["A"]).await;
    ledger.deposit("alice".into(), 10, "one".into()).await.unwrap();
    ledger.deposit("alice".into(), 10, "two".into()).await.unwrap();
    world.pause(100).await;
    world.kill("client", &disk, ledger, &["A"]).await;

    let ledger = world.client_on("client", &disk, &["A"]).await;
    assert_eq!(ledger.deposit("alice".into(), 10, "three".into()).await.unwrap(), 30);
    assert_eq!(ledger.echo("four".into()).await.unwrap(), "four");
    world.assert_effects("alice", &["one", "two", "three"]).await;
}

/// A client that is closed in order, with all calls settled, leaves nothing behind.
async fn closed_in_order(mut world: World) {
    world.start(&["A"]);
    let disk = Disk::default();
    for reference in ["one", "two"] {
        let ledger = world.client_on("client", &disk, &["A"]).await;
        ledger.deposit("alice".into(), 10, reference.into()).await.unwrap();
        ledger.client().clone().shutdown(Duration::from_secs(5)).await;
        world.pause(100).await;
    }
    world.assert_effects("alice", &["one", "two"]).await;
    let welcomed = |frame: &Frame| matches!(frame.view, FrameView::Welcome { .. });
    let trace = world.network.trace();
    let welcomes: Vec<_> = trace.frames().filter(|frame| welcomed(frame)).collect();
    assert_eq!(welcomes.len(), 2, "{}", trace.diagram());
}

/// The client's next life goes on with its session, on another server.
async fn come_back(world: &World) {
    let trace = world.network.trace();
    let welcomed = trace.frames().find_map(|frame| match &frame.view {
        FrameView::Welcome { session, secret } => Some((*session, *secret)),
        _ => None,
    });
    let (session, secret) = welcomed.expect("the client was welcomed");
    let next = SessionId { incarnation: Incarnation(2), ..session };
    let lease = Lease::from(WallTime::now(), Lease::DEFAULT);
    let identity = Identity::anonymous();
    let resumed = world.store.resume_session(&identity, secret, next, lease).await;
    assert!(matches!(resumed, Ok(Resume::Resumed { .. })), "{resumed:?}");
}

#[cfg_attr(test, test)]
pub(crate) fn client_crash_journalled_client() {
    holds(scenario);
}

#[cfg_attr(test, test)]
pub(crate) fn the_next_life_is_told_what_the_earlier_was_not() {
    holds(after_the_effect);
}

#[cfg_attr(test, test)]
pub(crate) fn what_is_not_written_down_is_not_sent() {
    holds(before_it_is_written_down);
}

#[cfg_attr(test, test)]
pub(crate) fn what_may_be_forgotten_is_not_told() {
    holds(before_its_end_is_written_down);
}

#[cfg_attr(test, test)]
pub(crate) fn the_next_life_has_numbers_of_its_own() {
    holds(with_new_numbers);
}

#[cfg_attr(test, test)]
pub(crate) fn a_client_that_is_closed_leaves_nothing_open() {
    holds(closed_in_order);
}

#[cfg_attr(test, test)]
pub(crate) fn an_earlier_life_is_turned_away() {
    holds(at_the_handshake);
}

#[cfg_attr(test, test)]
pub(crate) fn a_call_keeps_the_id_of_its_session() {
    holds(its_caller_comes_late);
}

#[test]
fn it_takes_the_fence() {
    must_fail_without(Rule::FenceIncarnations, scenario);
    must_fail_without(Rule::FenceIncarnations, at_the_handshake);
}

#[test]
fn it_takes_the_rules_of_the_journal() {
    must_fail_without(Rule::AttemptAboveEarlierLives, after_the_effect);
    must_fail_without(Rule::JournalBeforeSend, before_it_is_written_down);
    must_fail_without(Rule::JournalBeforeAck, before_its_end_is_written_down);
    must_fail_without(Rule::NumberAboveEarlierLives, with_new_numbers);
}
