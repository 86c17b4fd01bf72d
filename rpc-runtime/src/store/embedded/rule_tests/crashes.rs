//! What is found after crashes, and after disks that cannot be read.

use super::*;
use crate::store::embedded::OpenError;
use crate::store::embedded::log::BLOCK;
use crate::store::{CommitOutcome, LookUp, Store as _, StoreError};

async fn must_commit(store: &EmbeddedStore, commit: Commit) {
    let outcome = store.commit(commit).await;
    assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
}

/// Each call has written the document of its number.
async fn must_be_found(store: &EmbeddedStore, session: SessionId, calls: u64) {
    for seq in 1..=calls {
        let found = store.read(&key(&seq.to_string())).await.unwrap();
        assert!(found.body.is_some(), "the document of call {seq} of {calls}");
        let found = store.look_up(&call(session, seq)).await.unwrap();
        assert!(matches!(found, LookUp::Recorded(_)), "call {seq} of {calls}: {found:?}");
    }
}

/// Commits calls from `seq` on, one after the other, to a store that is opened with a log of this
/// many blocks, and crashes.
async fn go_on(
    files: &Files,
    blocks: u64,
    session: SessionId,
    calls: std::ops::Range<u64>,
) -> Files {
    let store = files.store((blocks * BLOCK) as usize);
    must_be_found(&store, session, calls.start - 1).await;
    for seq in calls.clone() {
        must_commit(&store, put(session, seq, &seq.to_string(), b"body")).await;
    }
    files.after_crash()
}

async fn new_store(blocks: u64) -> (Files, SessionId) {
    let files = Files::default();
    let session = files
        .store((blocks * BLOCK) as usize)
        .open_session(&identity(), SECRET, LEASE)
        .await
        .unwrap();
    (files, session)
}

#[tokio::test]
async fn what_was_recovered_is_kept_over_the_next_crash() {
    let (mut files, session) = new_store(16).await;
    for seq in 1..=4 {
        files = go_on(&files, 16, session, seq..seq + 1).await;
    }
    must_be_found(&files.store(1 << 20), session, 4).await;
}

#[tokio::test]
async fn the_log_may_have_another_size_at_each_start() {
    let (mut files, session) = new_store(2).await;
    let mut seq = 1;
    for blocks in [16, 16, 4, 2, 64] {
        files = go_on(&files, blocks, session, seq..seq + 5).await;
        seq += 5;
    }
    must_be_found(&files.store(1 << 20), session, seq - 1).await;
}

#[tokio::test]
async fn a_call_that_is_longer_than_the_log_outlives_a_crash() {
    let (files, session) = new_store(16).await;
    let log_bytes = 8 * BLOCK as usize;
    let store = files.store(log_bytes);
    for seq in 1..=9 {
        let length = if seq % 3 == 0 { 10 * BLOCK as usize } else { 10 };
        must_commit(&store, put(session, seq, &seq.to_string(), &vec![1; length])).await;
        must_be_found(&files.after_crash().store(log_bytes), session, seq).await;
    }
}

fn refusal(tree: Image, log: Image) -> OpenError {
    EmbeddedStore::open_on(tree, log, EmbeddedConfig::default()).unwrap_err()
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_damaged() {
    let files = Files::default();
    drop(files.store(1 << 20));
    let broken = io::ErrorKind::PermissionDenied;
    let error = refusal(files.tree.failing(broken), files.log.copy());
    assert!(matches!(error, OpenError::Io { step: "open", .. }), "{error}");
    let error = refusal(files.tree.copy(), files.log.failing(broken));
    assert!(matches!(error, OpenError::Io { step: "read the log of", .. }), "{error}");
    let error = refusal(files.tree.failing(io::ErrorKind::InvalidData), files.log.copy());
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    let error = refusal(files.tree.failing(io::ErrorKind::UnexpectedEof), files.log.copy());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_store_answers_no_more_after_a_failed_sync() {
    let (files, session) = new_store(16).await;
    let store = files.store(1 << 20);
    must_commit(&store, put(session, 1, "1", b"body")).await;
    files.log.lock().is_broken = true;
    let doubtful = store.commit(put(session, 2, "2", b"body")).await;
    assert!(matches!(doubtful, Err(StoreError::Unknown { .. })), "{doubtful:?}");
    files.log.lock().is_broken = false;
    let answer = store.commit(put(session, 3, "3", b"body")).await;
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn the_end_after_a_failed_sync_can_be_broken() {
    let (files, session) = new_store(16).await;
    let broken = crate::rule::Broken::rule(crate::rule::Rule::StopAfterFailedSync);
    let store = files.store(1 << 20);
    drop(broken);
    files.log.lock().is_broken = true;
    must_commit(&store, put(session, 1, "1", b"body")).await;
    must_commit(&store, put(session, 2, "2", b"body")).await;
}
