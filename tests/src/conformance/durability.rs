//! Power cuts and failed syncs, where a harness can make them.

use rpc::store::CommitOutcome;

use super::{Caller, Draft as _, Harness, body, key, must_be_recorded, must_commit, success};

/// What was acknowledged was durable.
pub async fn what_is_acknowledged_survives_a_power_cut(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    must_commit(&*store, caller.commit(1).putting(&doc, b"one")).await;
    must_commit(&*store, caller.commit(2).putting(&doc, b"two")).await;
    let Some(store) = harness.after_power_cut(store).await else { return };
    assert_eq!(body(&*store, &doc).await, Some(b"two".to_vec()), "an acknowledged write is lost");
    for seq in 1..=2u64 {
        must_be_recorded(&*store, &caller.call(seq), &success(&seq.to_le_bytes())).await;
    }
}

/// A store that could not make something durable acknowledges nothing until it was opened again:
/// what it holds in memory may never become durable.
pub async fn after_a_failed_sync_nothing_is_acknowledged(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (doc, other) = (key("doc"), key("other"));
    if !harness.fail_next_sync() {
        return;
    }
    let mut acknowledged = Vec::new();
    for (seq, key) in [(1, &doc), (2, &other)] {
        let draft = caller.commit(seq).putting(key, b"here");
        if let Ok(CommitOutcome::Committed(_)) = store.commit(draft).await {
            acknowledged.push(key);
        }
    }
    // A clean close might write once more what did not become durable; a power cut does not.
    let cut = harness.after_power_cut(store).await;
    let store = cut.expect("the power of a disk whose syncs fail can be cut");
    for key in acknowledged {
        assert!(body(&*store, key).await.is_some(), "{key} was acknowledged and is not there");
    }
    let seen = store.look_up(&caller.call(1)).await.expect("it works again");
    let applied = body(&*store, &doc).await.is_some();
    let recorded = matches!(seen, rpc::store::LookUp::Recorded(_));
    assert_eq!(applied, recorded, "record and effect are there together, or neither");
}
