//! Stages that somebody meets, and stages of which the store does not say whether they lie there.

use std::sync::Arc;
use std::time::Duration;

use rpc::store::CommitOutcome;
use rpc::store::cas::CasStore;
use rpc::time::WallTime;
use rpc_tests::conformance::{Caller, Draft, body, commit, key, must_commit, read};
use rpc_tests::simulated::scripted::{Kind, two_servers};
use rpc_tests::simulated::{Faults, SimulatedBackend};
use tokio::time::Instant;

/// How long a call waits for the owner of a stage: one with the right of way, and one without.
const PATIENCE_OF_FIRST: Duration = Duration::from_millis(10);
const PATIENCE_OF_SECOND: Duration = Duration::from_millis(250);
/// The longest pause between two looks at a stage.
const LOOK: Duration = Duration::from_millis(6);

#[tokio::test(start_paused = true)]
async fn a_transfer_of_which_the_store_never_says_that_it_was_written_commits() {
    let documents = SimulatedBackend::new();
    let store = CasStore::with_seed(documents.clone(), 1, || WallTime(0));
    let caller = Caller::open(&store).await;
    must_commit(&store, caller.commit(1).putting(&key("doc"), b"1").putting(&key("b"), b"1")).await;
    documents.set_faults(1, Faults { ambiguous_done: 1000, ..Faults::default() });
    must_commit(&store, caller.commit(2).putting(&key("doc"), b"2").putting(&key("b"), b"2")).await;
    assert_eq!(body(&store, &key("b")).await.as_deref(), Some(&b"2"[..]));
}

/// The owner stands still before its commit point. Whoever wants the document waits a little, makes
/// the owner's commit fail, and goes on; an older call sooner than a younger one.
#[tokio::test(start_paused = true)]
async fn the_owner_of_a_stage_is_waited_for_a_little_and_then_fenced() {
    for (born, patience) in [(4, PATIENCE_OF_FIRST), (6, PATIENCE_OF_SECOND)] {
        let two = two_servers(|| WallTime(0)).await;
        let (owner, other) = (Caller::open(&*two.first.1).await, Caller::open(&*two.first.1).await);
        let (doc, b, c) = (key("doc"), key("b"), key("c"));
        let commit_point = two.first.0.hold(Kind::Write, &doc, 0);
        let seen = read(&*two.first.1, &doc).await;
        let draft = owner.commit(1).reading(&doc, &seen);
        let mut draft = draft.putting(&doc, b"1").putting(&b, b"1");
        draft.call.born = WallTime(5);
        let store = Arc::clone(&two.first.1);
        let stalled = tokio::spawn(async move { commit(&*store, draft).await });
        commit_point.reached.notified().await;

        let began = Instant::now();
        let mut draft = other.commit(1).putting(&b, b"2").putting(&c, b"2");
        (draft.call.anchor, draft.call.born) = (Some(c), WallTime(born));
        must_commit(&*two.second.1, draft).await;
        let waited = began.elapsed();
        assert!(waited >= patience && waited <= patience + 2 * LOOK, "{waited:?}");
        commit_point.go.notify_one();
        assert_eq!(stalled.await.expect("no panic"), CommitOutcome::Conflict);
        assert_eq!(body(&*two.second.1, &b).await.as_deref(), Some(&b"2"[..]));
        assert_eq!(body(&*two.second.1, &doc).await.as_deref(), Some(&b"\"old\""[..]));
    }
}
