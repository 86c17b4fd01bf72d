//! Acknowledged calls: stale ids, and which records go.

use rpc::id::{Identity, Seq};
use rpc::store::{CommitOutcome, LookUp, Refusal, Resume};

use super::{
    Caller, Draft, Harness, LONG_LEASE, SECRET, body, commit, key, look_up, must_be_recorded,
    must_be_refused, must_commit, must_not_be_executed_again, read, success,
};

/// A call below the watermark that comes again.
pub async fn an_acknowledged_call_is_never_executed(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    for seq in 1..=3_u64 {
        must_commit(&*store, caller.commit(seq)).await;
    }
    must_commit(&*store, caller.acknowledging_below(4).commit(4)).await;
    for seq in 1..=3_u64 {
        let outcome = success(&seq.to_le_bytes());
        must_not_be_executed_again(&*store, &caller.call(seq), &outcome).await;
    }
}

/// The watermark is kept over a restart: with the record gone, it alone makes the id an old one.
pub async fn an_acknowledged_call_is_never_executed_after_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    for seq in 1..=3_u64 {
        must_commit(&*store, caller.commit(seq)).await;
    }
    must_commit(&*store, caller.acknowledging_below(4).commit(4)).await;
    let Some(store) = harness.reopen(store).await else { return };
    for seq in 1..=3_u64 {
        let outcome = success(&seq.to_le_bytes());
        must_not_be_executed_again(&*store, &caller.call(seq), &outcome).await;
    }
    must_be_recorded(&*store, &caller.call(4), &success(&4u64.to_le_bytes())).await;
}

/// A call that its own client says it has completed is not executed.
pub async fn a_call_below_its_own_watermark_is_stale(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await.acknowledging_below(10);
    must_be_refused(&*store, &caller.call(9), Refusal::Stale).await;
    must_commit(&*store, caller.commit(10)).await;
}

/// However well its run went: what it read is still so, and nothing else stands against it.
pub async fn a_call_below_its_own_watermark_changes_nothing(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    must_commit(&*store, caller.commit(1).putting(&doc, b"before")).await;
    let seen = read(&*store, &doc).await;
    let stale = caller.acknowledging_below(4).commit(3).reading(&doc, &seen).putting(&doc, b"x");
    assert_eq!(commit(&*store, stale).await, CommitOutcome::Refused(Refusal::Stale));
    assert_eq!(body(&*store, &doc).await, Some(b"before".to_vec()), "nothing was applied");
}

/// Only records below the watermark go.
pub async fn records_at_or_above_the_watermark_stay(harness: &impl Harness) {
    let mut store = harness.open().await;
    let caller = Caller::open(&*store).await;
    for seq in 1..=20 {
        must_commit(&*store, caller.commit(seq)).await;
    }
    must_commit(&*store, caller.acknowledging_below(10).commit(21)).await;
    for seq in 10..=21 {
        must_be_recorded(&*store, &caller.call(seq), &success(&seq.to_le_bytes())).await;
    }
    match harness.reopen(store).await {
        Some(reopened) => store = reopened,
        None => return,
    }
    for seq in 10..=21 {
        must_be_recorded(&*store, &caller.call(seq), &success(&seq.to_le_bytes())).await;
    }
}

/// A message that was overtaken brings an older watermark; it changes nothing.
pub async fn the_watermark_never_moves_back(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let first = must_commit(&*store, caller.commit(1)).await;
    must_commit(&*store, caller.acknowledging_below(5).commit(5)).await;
    must_commit(&*store, caller.acknowledging_below(2).commit(6)).await;
    must_not_be_executed_again(&*store, &caller.call(1), &first).await;
    must_be_refused(&*store, &caller.call(4), Refusal::Stale).await;
    if !harness.remembers_watermarks() {
        return;
    }
    let resumed =
        store.resume_session(&Identity::anonymous(), SECRET, caller.session, LONG_LEASE).await;
    assert_eq!(resumed.expect("healthy"), Resume::Resumed { watermark: Seq(5) }, "the highest");
}

/// A watermark that jumps costs no more than one that creeps, and what is above it works.
pub async fn a_watermark_far_ahead_is_taken(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    must_commit(&*store, caller.commit(1)).await;
    let far = u64::MAX - 1;
    must_commit(&*store, caller.acknowledging_below(far).commit(far)).await;
    must_be_refused(&*store, &caller.call(far - 1), Refusal::Stale).await;
    let outcome = success(&far.to_le_bytes());
    must_be_recorded(&*store, &caller.acknowledging_below(far).call(far), &outcome).await;
}

/// A client that comes back learns what it has acknowledged.
pub async fn the_watermark_is_given_back_on_resume(harness: &impl Harness) {
    let mut store = harness.open().await;
    let caller = Caller::open(&*store).await;
    must_commit(&*store, caller.commit(1)).await;
    must_commit(&*store, caller.acknowledging_below(2).commit(2)).await;
    match harness.reopen(store).await {
        Some(reopened) if harness.remembers_watermarks() => store = reopened,
        _ => return,
    }
    let resumed =
        store.resume_session(&Identity::anonymous(), SECRET, caller.session, LONG_LEASE).await;
    assert_eq!(resumed.expect("healthy"), Resume::Resumed { watermark: Seq(2) }, "as it was");
}

/// A conflict leaves the call to be run again, whatever it acknowledged.
pub async fn a_conflict_may_be_tried_again(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let absent = read(&*store, &doc).await;
    must_commit(&*store, caller.commit(1).putting(&doc, b"1")).await;
    let later = caller.acknowledging_below(2);
    let draft = later.commit(2).reading(&doc, &absent).putting(&doc, b"2");
    assert_eq!(commit(&*store, draft).await, CommitOutcome::Conflict, "it has changed");
    assert_eq!(look_up(&*store, &later.call(2)).await, LookUp::Unknown, "it has not ended");
    must_commit(&*store, later.commit(2).putting(&doc, b"2")).await;
    assert_eq!(body(&*store, &doc).await, Some(b"2".to_vec()), "the second run was applied");
}
