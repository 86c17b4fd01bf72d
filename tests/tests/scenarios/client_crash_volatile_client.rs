//! A new session; the old one's records are collected when its lease ends, and what still runs for
//! it takes no effect any more.

use std::time::Duration;

use rpc::ServerConfig;
use rpc::store::{Lease, Store as _};
use rpc::testing::{FrameView, Rule};
use rpc::time::WallTime;
use rpc_tests::world::{Fate, Point, World, holds, must_fail_without};

const SHORT: Duration = Duration::from_secs(1);

async fn scenario(mut world: World) {
    world.start_with("A", ServerConfig::default().lease(SHORT));
    world.start(&["B"]);
    let before = world.client("before", &["A"]).await;
    before.deposit("alice".into(), 10, "done".into()).await.unwrap();
    let gate = world.gates.close("A", "running", Point::End);
    let call = tokio::spawn(before.deposit("alice".into(), 10, "running".into()));
    gate.reached().await;
    // The client's process dies: not a word of goodbye.
    world.network.script(|frame| if frame.client == "before" { Fate::Lose } else { Fate::Deliver });
    call.abort();
    drop(before);
    world.network.cut("before", "A");

    let after = world.client("after", &["B"]).await;
    after.deposit("bob".into(), 5, "new life".into()).await.unwrap();
    let trace = world.network.trace();
    let sessions: Vec<_> = trace
        .frames()
        .filter_map(|frame| match &frame.view {
            FrameView::Welcome { session, .. } => Some(session.client),
            _ => None,
        })
        .collect();
    assert!(sessions.len() == 2 && sessions[0] != sessions[1], "{sessions:?}");

    let end = WallTime::now() + SHORT + Lease::MARGIN + Duration::from_secs(60);
    assert_eq!(world.store.expire_sessions(end).await.unwrap(), 1, "the old session only");
    gate.open();
    world.pause(100).await;
    world.assert_effects("alice", &["done"]).await;
    after.deposit("bob".into(), 5, "goes on".into()).await.unwrap();
    world.assert_effects("bob", &["new life", "goes on"]).await;
}

#[cfg_attr(test, test)]
pub(crate) fn client_crash_volatile_client() {
    holds(scenario);
}

#[test]
fn it_takes_the_check_at_commit() {
    must_fail_without(Rule::CheckIdAtCommit, scenario);
}
