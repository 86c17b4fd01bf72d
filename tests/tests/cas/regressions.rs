//! Interleavings that an exhausted model of the store protocol has found to go wrong, played on the
//! real store step by step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rpc::id::Attempt;
use rpc::store::cas::CasStore;
use rpc::store::{
    Commit, CommitOutcome, Confirm, DocKey, Lease, LookUp, Outcome, Refusal, Store, Versioned,
};
use rpc::time::WallTime;
use rpc_tests::conformance::{
    Caller, Draft, body, commit, key, look_up, must_commit, read, read_version,
};
use rpc_tests::simulated::scripted::{Event, Held, Kind, Scripted, Two, two_servers};

fn attempt(draft: Commit, number: u32) -> Commit {
    let mut draft = draft;
    draft.call.attempt = Attempt(number);
    draft
}

/// Two retries of a call record different errors. The first one's write is ambiguous and was not
/// done; the record that it then finds is the other's.
#[tokio::test(start_paused = true)]
async fn a_record_without_a_token_is_not_taken_for_the_own_one() {
    let two = two_servers(|| WallTime(0)).await;
    let caller = Caller::open(&*two.first.1).await;
    let error = |text: &str| Outcome::BusinessError(text.as_bytes().to_vec().into());
    let doc = key("doc");
    two.first.0.cue(Kind::Write, &doc, 0, Event::AmbiguousNotDone);
    let reread = two.first.0.hold(Kind::Get, &doc, 1);
    let store = Arc::clone(&two.first.1);
    let draft = attempt(caller.commit(1), 2).ending(error("the first one's"));
    let first = tokio::spawn(async move { commit(&*store, draft).await });
    reread.reached.notified().await;
    let draft = attempt(caller.commit(1), 3).ending(error("the second one's"));
    let recorded = must_commit(&*two.second.1, draft).await;
    reread.go.notify_one();
    match first.await.unwrap() {
        CommitOutcome::Recorded(outcome) => assert_eq!(*outcome.get(), recorded),
        other => panic!("the other attempt's record is the call's outcome, not {other:?}"),
    }
}

/// A transfer over three documents commits between the reads of two of them. When the reader
/// compares again, the first still carries the transfer's stage; before the reader asks the anchor,
/// that stage has become a body and the record is trimmed.
#[tokio::test(start_paused = true)]
async fn a_stage_whose_record_is_trimmed_is_not_taken_for_lost() {
    let two = two_servers(|| WallTime(0)).await;
    let caller = Caller::open(&*two.first.1).await;
    let (doc, b, c) = (key("doc"), key("b"), key("c"));
    let reader = &two.second.1;
    let anchor_write = two.first.0.hold(Kind::Write, &doc, 0);
    let unstaging = two.first.0.hold(Kind::Write, &b, 1);
    let store = Arc::clone(&two.first.1);
    let draft = caller.commit(1).putting(&doc, b"\"new\"").putting(&b, b"\"new\"");
    let draft = draft.putting(&c, b"\"new\"");
    let transfer = tokio::spawn(async move { must_commit(&*store, draft).await });
    anchor_write.reached.notified().await;
    let old = read(&**reader, &b).await;
    assert_eq!(old.body.as_deref(), Some(&b"\"old\""[..]));
    anchor_write.go.notify_one();
    transfer.await.unwrap();
    unstaging.reached.notified().await;
    let new = read(&**reader, &c).await;
    assert_eq!(new.body.as_deref(), Some(&b"\"new\""[..]));

    let asking = two.second.0.hold(Kind::Get, &doc, 0);
    let reads = [read_version(&b, &old), read_version(&c, &new)];
    let store = Arc::clone(reader);
    let confirming = tokio::spawn(async move { store.confirm(&reads).await.unwrap() });
    asking.reached.notified().await;
    unstaging.go.notify_one();
    let mut seq = 1;
    while matches!(look_up(&*two.first.1, &caller.call(1)).await, LookUp::Recorded(_)) {
        seq += 1;
        assert!(seq < 100, "an acknowledged record goes once its stages are bodies");
        let next = caller.acknowledging_below(seq).commit(seq).putting(&doc, b"\"next\"");
        must_commit(&*two.first.1, next).await;
        // The first server's task, which clears its stages, gets its turn.
        tokio::task::yield_now().await;
    }
    asking.go.notify_one();
    assert_eq!(confirming.await.unwrap(), Confirm::Changed, "one old and one new document");
}

/// A server stalls between looking at the lease and reading the anchor, for so long that another
/// attempt has committed, the session has ended, and its record is collected.
#[tokio::test(start_paused = true)]
async fn a_lease_is_looked_at_again_after_the_anchor_was_read() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    let two = two_servers(|| WallTime(NOW.load(Ordering::Relaxed))).await;
    let caller = Caller::with_lease(&*two.first.1, Lease { until: WallTime(1000) }).await;
    let (doc, b) = (key("doc"), key("b"));
    let stall = two.first.0.hold(Kind::Get, &doc, 0);
    let store = Arc::clone(&two.first.1);
    let draft = caller.commit(1).putting(&b, b"\"zombie\"");
    let zombie = tokio::spawn(async move { commit(&*store, draft).await });
    stall.reached.notified().await;
    let retry = attempt(caller.commit(1), 2).putting(&b, b"\"retry\"");
    must_commit(&*two.second.1, retry).await;
    end_session(&two, &NOW, &doc).await;
    stall.go.notify_one();
    assert_eq!(zombie.await.unwrap(), CommitOutcome::Refused(Refusal::SessionClosed));
    assert_eq!(body(&*two.second.1, &b).await.as_deref(), Some(&b"\"retry\""[..]));
}

/// The last call of a session is never acknowledged. The server that committed it, and knows that
/// its stages are bodies, is gone.
#[tokio::test(start_paused = true)]
async fn the_last_record_of_an_ended_session_is_collected_by_any_server() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    let two = two_servers(|| WallTime(NOW.load(Ordering::Relaxed))).await;
    let caller = Caller::with_lease(&*two.first.1, Lease { until: WallTime(1000) }).await;
    let (doc, b) = (key("doc"), key("b"));
    must_commit(&*two.first.1, caller.commit(1).putting(&doc, b"\"new\"").putting(&b, b"\"new\""))
        .await;
    end_session(&two, &NOW, &doc).await;
}

/// A stage creates its document; that write is ambiguous and still on its way. The call goes on and
/// commits, another call deletes the document, and then the write arrives: absence has come back.
#[tokio::test(start_paused = true)]
async fn a_stage_that_arrives_after_its_document_is_deleted_does_not_count() {
    let two = two_servers(|| WallTime(0)).await;
    let caller = Caller::open(&*two.first.1).await;
    let (doc, new) = (key("doc"), key("new"));
    let late = Held::default();
    two.first.0.cue(Kind::Write, &new, 0, Event::AmbiguousLate(late.clone()));
    must_commit(&*two.first.1, caller.commit(1).putting(&doc, b"1").putting(&new, b"1")).await;
    let other = Caller::open(&*two.second.1).await;
    must_commit(&*two.second.1, other.commit(1).putting(&doc, b"2").deleting(&new)).await;
    until(|| two.documents.peek(new.as_str()).is_none()).await;
    late.go.notify_one();
    late.reached.notified().await;
    assert_eq!(body(&*two.second.1, &new).await, None, "it was deleted after the call");
}

/// Two opposite calls each create the other one's anchor, so both lose. When the younger one looks at
/// its anchor, the older one has taken its stage back, and with it the document.
#[tokio::test(start_paused = true)]
async fn an_older_call_goes_first_on_a_document_that_is_not_there() {
    let two = two_servers(|| WallTime(0)).await;
    let (old, young) = (Caller::open(&*two.first.1).await, Caller::open(&*two.first.1).await);
    // Each reads a document of its own, which others do not touch.
    let transfer = async |server: &CasStore<Scripted>, caller: &Caller, names: [&str; 3]| {
        let [anchor, other, beside] = names.map(key);
        let seen = read(server, &beside).await;
        let mut draft = caller.commit(1).putting(&anchor, b"1").putting(&other, b"1");
        (draft.call.anchor, draft.call.born) = (Some(anchor), WallTime(caller.session.client.0));
        draft.reading(&beside, &seen)
    };
    let (old_one, young_one) = (["x", "y", "b"], ["y", "x", "c"]);
    let (x, y) = (key("x"), key("y"));
    let stage = two.first.0.hold(Kind::Write, &y, 0);
    let back = two.first.0.hold(Kind::Write, &y, 0);
    let (store, draft) = (Arc::clone(&two.first.1), transfer(&two.first.1, &old, old_one).await);
    let first = tokio::spawn(async move { commit(&*store, draft).await });
    stage.reached.notified().await;
    let commit_point = two.second.0.hold(Kind::Write, &y, 0);
    let look = two.second.0.hold(Kind::Get, &y, 1);
    let (store, draft) =
        (Arc::clone(&two.second.1), transfer(&two.second.1, &young, young_one).await);
    let second = tokio::spawn(async move { commit(&*store, draft).await });
    commit_point.reached.notified().await;
    assert!(two.documents.peek(x.as_str()).is_some(), "it has staged the older one's anchor");
    stage.go.notify_one();
    back.reached.notified().await;
    commit_point.go.notify_one();
    // Its second look at its anchor is the one after its commit was lost.
    look.reached.notified().await;
    back.go.notify_one();
    assert_eq!(first.await.unwrap(), CommitOutcome::Conflict);
    look.go.notify_one();
    settle().await;
    assert!(!second.is_finished(), "the younger one waits for the older one");
    must_commit(&*two.first.1, transfer(&two.first.1, &old, old_one).await).await;
    assert_eq!(second.await.unwrap(), CommitOutcome::Conflict);
    must_commit(&*two.second.1, transfer(&two.second.1, &young, young_one).await).await;
}

/// A call creates its anchor. Before its commit another call guards that document's absence, so that
/// there is a document for a while; whoever asks the anchor just then must not take the call for lost.
#[tokio::test(start_paused = true)]
async fn a_run_that_found_no_anchor_is_not_lost_because_there_is_one_for_a_while() {
    let two = two_servers(|| WallTime(0)).await;
    let (caller, other) = (Caller::open(&*two.first.1).await, Caller::open(&*two.first.1).await);
    let (x, b, c) = (key("x"), key("b"), key("c"));
    let mut draft = caller.commit(1).putting(&x, b"1").putting(&b, b"1");
    draft.call.anchor = Some(x.clone());
    let commit_point = two.first.0.hold(Kind::Write, &x, 0);
    let unstaging = two.first.0.hold(Kind::Write, &b, 1);
    let store = Arc::clone(&two.first.1);
    let transfer = tokio::spawn(async move { must_commit(&*store, draft).await });
    commit_point.reached.notified().await;

    let absence = read(&*two.second.1, &x).await;
    let guarded = two.second.0.hold(Kind::Write, &x, 1);
    let mut draft = other.commit(1).reading(&x, &absence).putting(&c, b"1");
    draft.call.anchor = Some(c);
    must_commit(&*two.second.1, draft).await;
    guarded.reached.notified().await;
    let clearing = two.second.0.hold(Kind::Write, &b, 0);
    let store = Arc::clone(&two.second.1);
    let name = b.clone();
    let reader = tokio::spawn(async move { body(&*store, &name).await });
    until(|| reader.is_finished() || two.second.0.is_held(&b)).await;
    guarded.go.notify_one();
    until(|| two.documents.peek(x.as_str()).is_none()).await;
    commit_point.go.notify_one();
    transfer.await.unwrap();
    clearing.go.notify_one();
    reader.await.unwrap();
    unstaging.go.notify_one();
    assert_eq!(body(&*two.second.1, &b).await.as_deref(), Some(&b"1"[..]), "all of it or nothing");
}

/// A call's third attempt has lost its anchor. Its first attempt, on another server, reads what the
/// third one has left behind, and could take the documents from it again and again.
#[tokio::test(start_paused = true)]
async fn an_earlier_attempt_lets_a_later_one_of_its_call_go_first() {
    let two = two_servers(|| WallTime(0)).await;
    let (caller, other) = (Caller::open(&*two.first.1).await, Caller::open(&*two.first.1).await);
    let (doc, b) = (key("doc"), key("b"));
    let draft = |number: u32, seen: &Versioned| {
        attempt(caller.commit(1), number).reading(&b, seen).putting(&b, b"1").putting(&doc, b"1")
    };
    let seen = read(&*two.second.1, &b).await;
    let commit_point = two.second.0.hold(Kind::Write, &doc, 0);
    let (store, third) = (Arc::clone(&two.second.1), draft(3, &seen));
    let losing = tokio::spawn(async move { commit(&*store, third).await });
    commit_point.reached.notified().await;
    must_commit(&*two.first.1, other.commit(1).putting(&doc, b"2")).await;
    commit_point.go.notify_one();
    assert_eq!(losing.await.unwrap(), CommitOutcome::Conflict);
    let seen = read(&*two.first.1, &b).await;
    let (store, first) = (Arc::clone(&two.first.1), draft(1, &seen));
    let first = tokio::spawn(async move { commit(&*store, first).await });
    settle().await;
    assert!(!first.is_finished(), "it waits for the third attempt");
    let seen = read(&*two.second.1, &b).await;
    must_commit(&*two.second.1, draft(3, &seen)).await;
    assert_eq!(first.await.unwrap(), CommitOutcome::Conflict);
    let seen = read(&*two.first.1, &b).await;
    let retried = commit(&*two.first.1, draft(1, &seen)).await;
    assert!(matches!(retried, CommitOutcome::Recorded(_)), "{retried:?}");
}

/// Lets all tasks run until each waits for a timer or for a cue.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn until(holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("what should follow a commit has not");
}

/// Lets the leases end, and makes sure that the second server finds nothing more to remember of
/// them on this document.
async fn end_session(two: &Two, now: &AtomicU64, doc: &DocKey) {
    now.store((WallTime(1000) + Lease::MARGIN).0 + 1, Ordering::Relaxed);
    let client = |name: &DocKey| {
        let found = two.documents.peek(name.as_str()).expect("the document is there");
        let meta: serde_json::Value = serde_json::from_slice(&found.meta).unwrap_or_default();
        // The client that made the documents has a lease that lasts.
        meta["c"].as_object().map_or(0, serde_json::Map::len)
    };
    for _ in 0..3 {
        two.second.1.collect(doc).await.expect("a healthy store collects");
    }
    assert_eq!(client(doc), 1, "the entry of the ended session goes");
}
