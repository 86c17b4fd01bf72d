//! When the embedded store answers: never before what it says is durable, and not later than that.
//!
//! The disk holds its syncs back until the test lets go of them, so no test waits for a time.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use redb::{ReadableDatabase, ReadableTable};
use rpc::id::{ArgumentHash, Identity, SessionId};
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use rpc::store::{CommitOutcome, Confirm, LookUp, Outcome, Refusal, Resume, Store};
use rpc_tests::conformance::{
    Caller, Draft, LONG_LEASE, SECRET, body, commit, key, must_be_recorded, must_commit, read,
    read_version, success,
};
use rpc_tests::disk::{Disk, Survival};

/// Fails a test that hangs.
const HANGS: std::time::Duration = std::time::Duration::from_secs(60);

fn open(disk: &Disk) -> EmbeddedStore {
    EmbeddedStore::open_on(disk.tree(), disk.log(), EmbeddedConfig::default())
        .expect("the store opens")
}

/// Polls once.
fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A future whose first poll has been made, and which waits: for the store, not for the runtime,
/// which would make one task pause that polls so many.
macro_rules! waiting {
    ($future:expr, $what:literal) => {{
        let mut future = Box::pin(tokio::task::unconstrained($future));
        assert!(poll(future.as_mut()).is_pending(), $what);
        future
    }};
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_durable() {
    let disk = Disk::default();
    let store = open(&disk);
    let (caller, other) = (Caller::open(&store).await, Caller::open(&store).await);
    let (doc, durable) = (key("doc"), key("durable"));
    must_commit(&store, caller.commit(1).putting(&durable, b"old")).await;
    let old = read(&store, &durable).await;

    let held = disk.hold_syncs();
    let write = || caller.commit(2).putting(&doc, b"new").ending(success(b"done"));
    let first = waiting!(store.commit(write()), "a commit waits for its fsync");
    disk.wait_for_held_sync();

    let seen = read(&store, &doc).await;
    assert_eq!(seen.body.as_deref(), Some(&b"new"[..]), "others may build upon it");
    let reads = [read_version(&doc, &seen)];
    let confirm = waiting!(store.confirm(&reads), "what was read is not durable");
    let both = [read_version(&doc, &seen), read_version(&durable, &old)];
    let confirm_both = waiting!(store.confirm(&both), "half of what was read is not durable");
    let call = caller.call(2);
    let look_up = waiting!(store.look_up(&call), "the record is not durable");
    let second = waiting!(store.commit(write()), "the record is not durable");
    let mut reused = caller.call(2);
    reused.hash = ArgumentHash(0);
    let refused = waiting!(store.look_up(&reused), "the record that refuses it is not durable");
    let built = other.commit(1).reading(&doc, &seen).putting(&doc, b"newer");
    let built = waiting!(store.commit(built), "what it builds upon is not durable");

    let old_only = [read_version(&durable, &old)];
    let confirm_old = store.confirm(&old_only).await;
    assert_eq!(confirm_old.expect("healthy"), Confirm::Consistent, "durable, so at once");
    let nothing = disk.after_power_cut(Survival::Nothing);

    drop(held);
    assert!(matches!(first.await, Ok(CommitOutcome::Committed(_))));
    assert!(matches!(second.await, Ok(CommitOutcome::Recorded(_))));
    assert!(matches!(look_up.await, Ok(LookUp::Recorded(_))));
    assert!(matches!(confirm.await, Ok(Confirm::Consistent)));
    assert!(matches!(confirm_both.await, Ok(Confirm::Consistent)));
    assert!(matches!(refused.await, Ok(LookUp::Refused(Refusal::IdReused))));
    assert!(matches!(built.await, Ok(CommitOutcome::Committed(_))));

    let lost = open(&nothing);
    assert_eq!(body(&lost, &doc).await, None, "the test held the sync back indeed");
    assert_eq!(body(&lost, &durable).await, Some(b"old".to_vec()), "this was durable");
}

#[tokio::test]
async fn a_deletion_is_not_shown_before_it_is_durable() {
    let disk = Disk::default();
    let store = open(&disk);
    let caller = Caller::open(&store).await;
    let (doc, other) = (key("doc"), key("other"));
    must_commit(&store, caller.commit(1).putting(&doc, b"here")).await;
    let held = disk.hold_syncs();
    let delete = waiting!(store.commit(caller.commit(2).deleting(&doc)), "it waits");
    let absent = read(&store, &doc).await;
    assert_eq!(absent.body, None, "others may build upon it");
    let reads = [read_version(&doc, &absent)];
    let alone = waiting!(store.confirm(&reads), "the absence is not durable");
    let never = read(&store, &other).await;
    let reads = [read_version(&doc, &absent), read_version(&other, &never)];
    let both = waiting!(store.confirm(&reads), "the absence is not durable");
    drop(held);
    assert!(matches!(delete.await, Ok(CommitOutcome::Committed(_))));
    assert!(matches!(alone.await, Ok(Confirm::Consistent)));
    assert!(matches!(both.await, Ok(Confirm::Consistent)));
}

#[tokio::test]
async fn an_absence_that_came_back_waits_for_what_ended_it() {
    let disk = Disk::default();
    let store = open(&disk);
    let caller = Caller::open(&store).await;
    let (doc, other) = (key("doc"), key("other"));
    let reads = [
        read_version(&doc, &read(&store, &doc).await),
        read_version(&other, &read(&store, &other).await),
    ];
    let held = disk.hold_syncs();
    let insert = waiting!(store.commit(caller.commit(1).putting(&doc, b"x")), "it waits");
    let delete = waiting!(store.commit(caller.commit(2).deleting(&doc)), "it waits");
    let confirm = waiting!(store.confirm(&reads), "it is absent only since the deletion");
    drop(held);
    assert!(matches!(confirm.await, Ok(Confirm::Consistent)));
    assert!(insert.await.is_ok() && delete.await.is_ok());
}

#[tokio::test]
async fn sessions_are_answered_once_they_are_durable() {
    let disk = Disk::default();
    let store = open(&disk);
    let identity = Identity::anonymous();
    let caller = Caller::open(&store).await;
    let second: SessionId = caller.in_life(2).session;
    let held = disk.hold_syncs();
    let opened = waiting!(store.open_session(&identity, SECRET, LONG_LEASE), "a new id waits");
    let resumed =
        waiting!(store.resume_session(&identity, SECRET, second, LONG_LEASE), "a new life waits");
    let call = caller.call(1);
    let fenced = waiting!(store.look_up(&call), "the fence is not durable");
    let fenced_commit = waiting!(store.commit(caller.commit(1)), "the fence is not durable");
    let closed = waiting!(store.close_session(second), "the end waits");
    let closed_again = waiting!(store.close_session(second), "the end is not durable");
    let late = caller.in_life(2).call(1);
    let gone = waiting!(store.look_up(&late), "the end is not durable");
    drop(held);
    assert_ne!(opened.await.expect("healthy").client, caller.session.client);
    assert!(matches!(resumed.await, Ok(Resume::Resumed { .. })));
    assert!(matches!(fenced.await, Ok(LookUp::Refused(Refusal::Fenced))));
    let outcome = fenced_commit.await.expect("healthy");
    assert_eq!(outcome, CommitOutcome::Refused(Refusal::Fenced));
    assert!(closed.await.is_ok() && closed_again.await.is_ok());
    assert!(matches!(gone.await, Ok(LookUp::Refused(Refusal::SessionClosed))));
}

/// All that is committed while one fsync runs shares the next one.
#[tokio::test]
async fn commits_share_an_fsync() {
    const CALLS: u64 = 500;
    let disk = Disk::default();
    let store = open(&disk);
    let caller = Caller::open(&store).await;
    let doc = key("hot");
    let alone = disk.syncs();
    must_commit(&store, caller.commit(1).putting(&doc, b"x")).await;
    let of_one = disk.syncs() - alone;

    let held = disk.hold_syncs();
    let first = waiting!(store.commit(caller.commit(2).putting(&doc, b"x")), "it waits");
    disk.wait_for_held_sync();
    let mut rest = Vec::new();
    for seq in 3..3 + CALLS {
        let seen = read(&store, &doc).await;
        let draft = caller.commit(seq).reading(&doc, &seen).putting(&doc, seq.to_le_bytes());
        rest.push(waiting!(store.commit(draft), "it waits"));
    }
    let before = disk.syncs();
    drop(held);
    assert!(matches!(first.await, Ok(CommitOutcome::Committed(_))));
    for commit in rest {
        assert!(matches!(commit.await, Ok(CommitOutcome::Committed(_))));
    }
    let taken = disk.syncs() - before;
    // The one that was held, the one that all the others share, and one if the file must grow.
    assert!(taken <= 2 * of_one + 1, "{CALLS} commits took {taken} syncs, one takes {of_one}");
    assert_eq!(body(&store, &doc).await, Some((2 + CALLS).to_le_bytes().to_vec()), "the last");
}

#[tokio::test]
async fn a_commit_waits_for_room() {
    let disk = Disk::default();
    let config = EmbeddedConfig::default().max_undurable_bytes(10_000);
    let store = EmbeddedStore::open_on(disk.tree(), disk.log(), config).expect("the store opens");
    let caller = Caller::open(&store).await;
    let held = disk.hold_syncs();
    let large = |seq: u64, size: usize| {
        caller.commit(seq).putting(&key(&format!("doc-{seq}")), vec![seq as u8; size])
    };
    let first = waiting!(store.commit(large(1, 6_000)), "it waits for its fsync");
    let second = waiting!(store.commit(large(2, 6_000)), "it waits for room");
    let huge = waiting!(store.commit(large(3, 100_000)), "it waits for all the room there is");
    assert!(body(&store, &key("doc-1")).await.is_some(), "the first is applied");
    assert_eq!(body(&store, &key("doc-2")).await, None, "the second is not");
    drop(held);
    for commit in [first, second, huge] {
        assert!(matches!(commit.await, Ok(CommitOutcome::Committed(_))));
    }
    assert!(body(&store, &key("doc-3")).await.is_some(), "the huge one was taken alone");
}

/// Whatever kind of commit it was given to: one that writes a document for the first time, or again.
#[tokio::test]
async fn room_is_given_back() {
    let disk = Disk::default();
    let config = EmbeddedConfig::default().max_undurable_bytes(2_000);
    let store = EmbeddedStore::open_on(disk.tree(), disk.log(), config).expect("the store opens");
    let caller = Caller::open(&store).await;
    let doc = key("doc");
    for seq in 1..=50 {
        let seen = read(&store, &doc).await;
        let draft = caller.commit(seq).reading(&doc, &seen).putting(&doc, [7; 1_500]);
        let committed = tokio::time::timeout(HANGS, store.commit(draft)).await;
        let committed = committed.expect("there is room").expect("the disk works");
        assert!(matches!(committed, CommitOutcome::Committed(_)), "{committed:?}");
    }
}

/// A caller that goes away leaves room, and its call has happened or not.
#[tokio::test]
async fn a_dropped_commit_is_harmless() {
    let disk = Disk::default();
    let config = EmbeddedConfig::default().max_undurable_bytes(2_000);
    let store = EmbeddedStore::open_on(disk.tree(), disk.log(), config).expect("the store opens");
    let caller = Caller::open(&store).await;
    let held = disk.hold_syncs();
    let draft = |seq: u64| caller.commit(seq).putting(&key(&format!("doc-{seq}")), [7; 1_500]);
    // It has room, so it is applied before anybody waits for it.
    drop(store.commit(draft(1)));
    let queued = waiting!(store.commit(draft(2)), "it waits for room");
    drop(queued);
    drop(held);
    must_commit(&store, draft(3)).await;
    must_be_recorded(&store, &caller.call(1), &success(&1u64.to_le_bytes())).await;
    assert_eq!(body(&store, &key("doc-2")).await, None, "it never had room");
    must_commit(&store, draft(2)).await;
}

/// Dropping the store finishes what was begun.
#[tokio::test]
async fn a_dropped_store_writes_what_it_has() {
    let disk = Disk::default();
    let store = open(&disk);
    let caller = Caller::open(&store).await;
    {
        let commit = pin!(store.commit(caller.commit(1).putting(&key("doc"), b"x")));
        let _ = poll(commit);
    }
    drop(store);
    let store = open(&disk.after_power_cut(Survival::Nothing));
    must_be_recorded(&store, &caller.call(1), &success(&1u64.to_le_bytes())).await;
}

/// Records do not pile up in the file: they go with their acknowledgement, and with their session.
#[tokio::test]
async fn records_leave_the_file() {
    let disk = Disk::default();
    let store = open(&disk);
    let (kept, closed) = (Caller::open(&store).await, Caller::open(&store).await);
    for seq in 1..=50 {
        must_commit(&store, kept.acknowledging_below(seq.max(10) - 9).commit(seq)).await;
        must_commit(&store, closed.commit(seq)).await;
    }
    store.close_session(closed.session).await.expect("a healthy store closes a session");
    drop(store);

    let database =
        redb::Database::builder().create_with_backend(disk.tree()).expect("it is a database");
    let transaction = database.begin_read().expect("it can be read");
    let records = redb::TableDefinition::<(u64, u64), &[u8]>::new("records");
    let records = transaction.open_table(records).expect("it has records");
    let ids: Vec<_> = records
        .iter()
        .expect("it can be read")
        .map(|row| row.expect("it can be read").0.value())
        .collect();
    let expected: Vec<_> = (41..=50).map(|seq| (kept.session.client.0, seq)).collect();
    assert_eq!(ids, expected, "only what is not acknowledged, of open sessions");
}

/// A waiting commit and the one that waits for room are both told when the store fails.
#[tokio::test]
async fn everyone_who_waits_is_told_of_a_failure() {
    use rpc::store::StoreError;
    let disk = Disk::default();
    let config = EmbeddedConfig::default().max_undurable_bytes(4_000);
    let store = EmbeddedStore::open_on(disk.tree(), disk.log(), config).expect("the store opens");
    let caller = Caller::open(&store).await;
    let held = disk.hold_syncs();
    let draft = |seq: u64, size| caller.commit(seq).putting(&key("doc"), vec![7; size]);
    let flushing = waiting!(store.commit(draft(1, 100)), "it waits for its fsync");
    disk.wait_for_held_sync();
    let active = waiting!(store.commit(draft(2, 100)), "it waits for the next fsync");
    let queued = waiting!(store.commit(draft(3, 100_000)), "it waits for room");
    let call = caller.call(1);
    let look_up = waiting!(store.look_up(&call), "the record is not durable");
    disk.plan(1, rpc_tests::disk::Fault::SyncFailsLost);
    drop(held);
    assert!(matches!(flushing.await, Err(StoreError::Unknown { .. })), "it may be written");
    assert!(matches!(active.await, Err(StoreError::Unavailable { .. })), "it is not");
    assert!(matches!(queued.await, Err(StoreError::Unavailable { .. })), "it is not");
    assert!(matches!(look_up.await, Err(StoreError::Unavailable { .. })), "nobody knows");
}

/// The store needs no clock and no second thread of the runtime.
#[tokio::test(start_paused = true)]
async fn the_store_works_while_time_stands_still() {
    let store: Arc<dyn Store> = Arc::new(open(&Disk::default()));
    let caller = Caller::open(&*store).await;
    let outcome = commit(&*store, caller.commit(1).putting(&key("doc"), b"x")).await;
    assert!(matches!(outcome, CommitOutcome::Committed(_)));
    let late = caller.commit(1).ending(Outcome::Aborted(rpc::store::AbortReason::Deadline));
    assert!(matches!(commit(&*store, late).await, CommitOutcome::Recorded(_)));
}
