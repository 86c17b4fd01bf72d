//! A client that comes back goes on with a higher incarnation: what its earlier life still has on
//! the wire is fenced.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Poll;

use rpc::error::{CallError, RejectReason, Unknown};
use rpc::id::{Identity, Incarnation, SessionId};
use rpc::store::{Lease, Resume, Store as _};
use rpc::testing::{FrameView, Rule};
use rpc::time::WallTime;
use rpc_tests::world::{Frame, Point, World, holds, must_fail_without};

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
