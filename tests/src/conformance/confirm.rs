//! Reads that were true at one moment.

use rpc::store::{Confirm, DocKey, ReadVersion, Store};

use super::{Caller, Draft, Harness, key, must_commit, read, read_version};

/// A call that read nothing has nothing to confirm.
pub async fn nothing_read_is_consistent(harness: &impl Harness) {
    let store = harness.open().await;
    assert_eq!(confirm(&*store, &[]).await, Confirm::Consistent, "nothing was read");
}

/// A single document was true when it was read, whatever it is now.
pub async fn one_read_is_always_consistent(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let absent = see(&*store, &doc).await;
    must_commit(&*store, caller.commit(1).putting(&doc, b"1")).await;
    let first = see(&*store, &doc).await;
    must_commit(&*store, caller.commit(2).putting(&doc, b"2")).await;
    for read in [absent, first] {
        assert_eq!(confirm(&*store, &[read]).await, Confirm::Consistent, "one is always true");
    }
}

/// Reads with no write in between.
pub async fn reads_of_one_moment_are_consistent(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (a, b, absent) = (key("a"), key("b"), key("absent"));
    must_commit(&*store, caller.commit(1).putting(&a, b"a").putting(&b, b"b")).await;
    let reads = [see(&*store, &a).await, see(&*store, &b).await, see(&*store, &absent).await];
    must_commit(&*store, caller.commit(2).putting(&key("unrelated"), b"x")).await;
    assert_eq!(confirm(&*store, &reads).await, Confirm::Consistent, "none of them changed");
}

/// A write to one document between the reads of two.
pub async fn a_change_between_two_reads_is_found(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (a, b) = (key("a"), key("b"));
    must_commit(&*store, caller.commit(1).putting(&a, b"50").putting(&b, b"50")).await;
    let before = see(&*store, &a).await;
    must_commit(&*store, caller.commit(2).putting(&a, b"0").putting(&b, b"100")).await;
    let reads = [before, see(&*store, &b).await];
    assert_eq!(confirm(&*store, &reads).await, Confirm::Changed, "50 and 100 never was");
}

/// A document that appears between the reads of two.
pub async fn an_insert_between_two_reads_is_found(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (a, b) = (key("a"), key("b"));
    let before = see(&*store, &a).await;
    must_commit(&*store, caller.commit(1).putting(&a, b"a").putting(&b, b"b")).await;
    let reads = [before, see(&*store, &b).await];
    assert_eq!(confirm(&*store, &reads).await, Confirm::Changed, "b without a never was");
}

/// A document that goes between the reads of two.
pub async fn a_delete_between_two_reads_is_found(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (a, b) = (key("a"), key("b"));
    must_commit(&*store, caller.commit(1).putting(&a, b"a").putting(&b, b"b")).await;
    let before = see(&*store, &a).await;
    must_commit(&*store, caller.commit(2).deleting(&a).deleting(&b)).await;
    let reads = [before, see(&*store, &b).await];
    assert_eq!(confirm(&*store, &reads).await, Confirm::Changed, "a without b never was");
}

async fn see(store: &dyn Store, key: &DocKey) -> ReadVersion {
    read_version(key, &read(store, key).await)
}

async fn confirm(store: &dyn Store, reads: &[ReadVersion]) -> Confirm {
    store.confirm(reads).await.expect("a healthy store confirms")
}
