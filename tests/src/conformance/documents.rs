//! Versions, conflicts, atomicity, guards and deletes.

use std::sync::Arc;

use rpc::store::{CommitOutcome, Store};
use tokio::task::JoinSet;

use super::{
    Caller, Draft, Harness, body, commit, key, must_be_recorded, must_commit, read, success,
};

/// Of many calls that saw no document and insert it, one does.
pub async fn insert_if_absent_has_one_winner(harness: &impl Harness) {
    const RIVALS: u64 = 16;
    let store = harness.open().await;
    let wanted = key("wanted");
    let absent = read(&*store, &wanted).await;
    let mut rivals = JoinSet::new();
    for rival in 0..RIVALS {
        let store: Arc<dyn Store> = harness.other_handle(&store).await;
        let (wanted, absent) = (wanted.clone(), absent.clone());
        rivals.spawn(async move {
            let caller = Caller::open(&*store).await;
            let draft = caller.commit(1).reading(&wanted, &absent);
            (rival, commit(&*store, draft.putting(&wanted, rival.to_le_bytes())).await)
        });
    }
    let mut winners = Vec::new();
    while let Some(ended) = rivals.join_next().await {
        match ended.expect("no rival panics") {
            (rival, CommitOutcome::Committed(_)) => winners.push(rival),
            (_, CommitOutcome::Conflict) => {}
            (_, other) => panic!("an insert wins or conflicts, not {other:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "exactly one insert wins");
    let found = body(&*store, &wanted).await;
    assert_eq!(found, Some(winners[0].to_le_bytes().to_vec()), "the winner's document is there");
}

/// Two calls read a version and write the document: one of them must run again.
pub async fn two_writes_from_one_read_conflict(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    must_commit(&*store, caller.commit(1).putting(&doc, b"0")).await;
    let seen = read(&*store, &doc).await;
    must_commit(&*store, caller.commit(2).reading(&doc, &seen).putting(&doc, b"1")).await;
    let late = commit(&*store, caller.commit(3).reading(&doc, &seen).putting(&doc, b"2")).await;
    assert_eq!(late, CommitOutcome::Conflict, "the version that it read is gone");
    let now = read(&*store, &doc).await;
    assert_ne!(now.version, seen.version, "a write changes the version");
    assert_eq!(now.body.as_deref(), Some(b"1".as_slice()), "the loser wrote nothing");
}

/// Documents that were written together have one version: to have read the one says nothing of the
/// other.
pub async fn a_read_is_compared_with_what_was_read(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (rate, account) = (key("rate"), key("account"));
    let together = caller.commit(1).putting(&rate, b"1%").putting(&account, b"0");
    must_commit(&*store, together).await;
    let seen = read(&*store, &rate).await;
    must_commit(&*store, caller.commit(2).putting(&rate, b"2%")).await;
    let draft = caller.commit(3).reading(&rate, &seen).putting(&account, b"1%");
    assert_eq!(commit(&*store, draft).await, CommitOutcome::Conflict, "what it read has changed");
    assert_eq!(body(&*store, &account).await.as_deref(), Some(&b"0"[..]), "nothing was applied");
}

/// A document that was only read is compared, too.
pub async fn a_changed_read_is_a_conflict(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (rate, account) = (key("rate"), key("account"));
    must_commit(&*store, caller.commit(1).putting(&rate, b"1%")).await;
    let seen = read(&*store, &rate).await;
    must_commit(&*store, caller.commit(2).putting(&rate, b"2%")).await;
    let draft = caller.commit(3).reading(&rate, &seen).putting(&account, b"1%");
    assert_eq!(commit(&*store, draft).await, CommitOutcome::Conflict, "what it read has changed");
    assert_eq!(body(&*store, &account).await, None, "nothing was applied");
}

/// That a document was not there is compared, too.
pub async fn an_absence_that_ended_is_a_conflict(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (guard, doc) = (key("guard"), key("doc"));
    let absent = read(&*store, &guard).await;
    assert_eq!(absent.body, None, "a new store has no documents");
    must_commit(&*store, caller.commit(1).putting(&guard, b"here")).await;
    let draft = caller.commit(2).reading(&guard, &absent).putting(&doc, b"x");
    assert_eq!(commit(&*store, draft).await, CommitOutcome::Conflict, "the absence has ended");
    assert_eq!(body(&*store, &doc).await, None, "nothing was applied");
}

/// That a document was there is compared, too.
pub async fn a_presence_that_ended_is_a_conflict(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (guard, doc) = (key("guard"), key("doc"));
    must_commit(&*store, caller.commit(1).putting(&guard, b"here")).await;
    let seen = read(&*store, &guard).await;
    must_commit(&*store, caller.commit(2).reading(&guard, &seen).deleting(&guard)).await;
    let draft = caller.commit(3).reading(&guard, &seen).putting(&doc, b"x");
    assert_eq!(commit(&*store, draft).await, CommitOutcome::Conflict, "the document has gone");
    assert_eq!(body(&*store, &doc).await, None, "nothing was applied");
}

/// A document that was deleted and made again, even with the same body, is another one.
pub async fn a_deleted_and_reinserted_document_conflicts(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    must_commit(&*store, caller.commit(1).putting(&doc, b"same")).await;
    let seen = read(&*store, &doc).await;
    must_commit(&*store, caller.commit(2).deleting(&doc)).await;
    must_commit(&*store, caller.commit(3).putting(&doc, b"same")).await;
    let draft = caller.commit(4).reading(&doc, &seen).putting(&doc, b"other");
    assert_eq!(commit(&*store, draft).await, CommitOutcome::Conflict, "the version is another");
}

/// Two absences are equal: nothing that was true when it was read is untrue at the commit.
pub async fn an_absence_that_came_back_is_no_conflict(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let absent = read(&*store, &doc).await;
    must_commit(&*store, caller.commit(1).putting(&doc, b"here")).await;
    must_commit(&*store, caller.commit(2).deleting(&doc)).await;
    let insert = caller.commit(3).reading(&doc, &absent).putting(&doc, b"mine");
    if harness.tells_absences_apart() {
        assert_eq!(commit(&*store, insert).await, CommitOutcome::Conflict, "another absence");
        assert_eq!(body(&*store, &doc).await, None, "nothing was applied");
        return;
    }
    must_commit(&*store, insert).await;
    assert_eq!(body(&*store, &doc).await, Some(b"mine".to_vec()), "it was inserted");
}

/// A write to a document that was not read stands whatever was there.
pub async fn a_blind_write_never_conflicts(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    must_commit(&*store, caller.commit(1).putting(&doc, b"1")).await;
    must_commit(&*store, caller.commit(2).putting(&doc, b"2")).await;
    must_commit(&*store, caller.commit(3).deleting(&doc)).await;
    must_commit(&*store, caller.commit(4).deleting(&doc)).await;
    assert_eq!(body(&*store, &doc).await, None, "the last write was a deletion");
}

/// Readers see all documents of a commit, or none.
pub async fn writes_to_many_documents_are_atomic(harness: &impl Harness) {
    const DOCUMENTS: usize = 20;
    const ROUNDS: u64 = 20;
    let store = harness.open().await;
    let docs: Vec<_> = (0..DOCUMENTS).map(|n| key(&format!("part-{n}"))).collect();
    let caller = Caller::open(&*store).await;
    let whole = |round: u64| {
        docs.iter()
            .fold(caller.commit(round + 1), |draft, doc| draft.putting(doc, round.to_le_bytes()))
    };
    must_commit(&*store, whole(0)).await;
    let writer = async {
        for round in 1..=ROUNDS {
            must_commit(&*store, whole(round)).await;
            tokio::task::yield_now().await;
        }
    };
    let reader = async {
        let mut consistent = 0;
        while consistent < 5 {
            let mut seen = Vec::new();
            let mut bodies = Vec::new();
            for doc in &docs {
                let document = read(&*store, doc).await;
                seen.push(super::read_version(doc, &document));
                bodies.push(document.body);
                tokio::task::yield_now().await;
            }
            let confirm = store.confirm(&seen).await.expect("a healthy store confirms");
            if confirm == rpc::store::Confirm::Consistent {
                assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "half a commit was seen");
                consistent += 1;
            }
        }
    };
    tokio::join!(writer, reader);
    for doc in &docs {
        let found = body(&*store, doc).await;
        assert_eq!(found, Some(ROUNDS.to_le_bytes().to_vec()), "the last commit is whole");
    }
}

/// A commit of several documents, one of which has changed, leaves the others alone.
pub async fn a_conflict_applies_nothing(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let docs = [key("a"), key("b"), key("c")];
    let all = docs.iter().fold(caller.commit(1), |draft, doc| draft.putting(doc, b"old"));
    must_commit(&*store, all).await;
    let mut draft = caller.commit(2);
    for doc in &docs {
        let seen = read(&*store, doc).await;
        draft = draft.reading(doc, &seen).putting(doc, b"new");
    }
    must_commit(&*store, caller.commit(3).putting(&docs[1], b"changed")).await;
    assert_eq!(commit(&*store, draft).await, CommitOutcome::Conflict, "one has changed");
    for (doc, expected) in docs.iter().zip([&b"old"[..], b"changed", b"old"]) {
        assert_eq!(body(&*store, doc).await.as_deref(), Some(expected), "{doc} was not touched");
    }
}

/// Two calls that each read what the other writes cannot both stand.
pub async fn write_skew_is_refused(harness: &impl Harness) {
    let store = harness.open().await;
    let (one, other) = (Caller::open(&*store).await, Caller::open(&*store).await);
    let (a, b) = (key("a"), key("b"));
    must_commit(&*store, one.commit(1).putting(&a, b"on call").putting(&b, b"on call")).await;
    let (seen_a, seen_b) = (read(&*store, &a).await, read(&*store, &b).await);
    let leave_a = one.commit(2).reading(&a, &seen_a).reading(&b, &seen_b).putting(&a, b"off");
    let leave_b = other.commit(1).reading(&a, &seen_a).reading(&b, &seen_b).putting(&b, b"off");
    must_commit(&*store, leave_a).await;
    assert_eq!(commit(&*store, leave_b).await, CommitOutcome::Conflict, "both went off call");
    assert_eq!(body(&*store, &b).await, Some(b"on call".to_vec()), "one stays on call");
}

/// What was committed is there after a restart, with the versions that it had.
pub async fn documents_survive_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (full, empty) = (key("full"), key("empty"));
    must_commit(&*store, caller.commit(1).putting(&full, b"kept").putting(&empty, b"")).await;
    let seen = read(&*store, &full).await;
    let Some(store) = harness.reopen(store).await else { return };
    assert_eq!(read(&*store, &full).await, seen, "the document and its version");
    assert_eq!(body(&*store, &empty).await, Some(vec![]), "an empty document is a document");
    must_commit(&*store, caller.commit(2).reading(&full, &seen).putting(&full, b"more")).await;
}

/// A version from before a restart never names another state.
pub async fn versions_are_not_reused_after_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    must_commit(&*store, caller.commit(1).putting(&doc, b"1")).await;
    let seen = read(&*store, &doc).await;
    must_commit(&*store, caller.commit(2).putting(&doc, b"2")).await;
    let Some(store) = harness.reopen(store).await else { return };
    for seq in 3..=6 {
        must_commit(&*store, caller.commit(seq).putting(&doc, b"3")).await;
        let late = caller.commit(10 + seq).reading(&doc, &seen).putting(&doc, b"4");
        let late = commit(&*store, late).await;
        assert_eq!(late, CommitOutcome::Conflict, "the version is of another state");
    }
}

/// What was deleted does not come back.
pub async fn a_deletion_survives_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    must_commit(&*store, caller.commit(1).putting(&doc, b"1")).await;
    must_commit(&*store, caller.commit(2).deleting(&doc)).await;
    assert_eq!(body(&*store, &doc).await, None, "it is deleted");
    let Some(store) = harness.reopen(store).await else { return };
    assert_eq!(body(&*store, &doc).await, None, "it is still deleted");
}

/// The record of an earlier call on a document stays when another call removes the document.
pub async fn a_deletion_takes_no_records_with_it(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let (doc, other) = (key("doc"), key("other"));
    must_commit(&*store, caller.commit(1).putting(&doc, b"here")).await;
    let mut removal = caller.commit(2).deleting(&doc).putting(&other, b"instead");
    removal.call.anchor = Some(other.clone());
    must_commit(&*store, removal).await;
    let elsewhere = harness.other_handle(&store).await;
    assert_eq!(body(&*elsewhere, &doc).await, None, "it is removed");
    must_be_recorded(&*elsewhere, &caller.call(1), &success(&1u64.to_le_bytes())).await;
    assert_eq!(body(&*elsewhere, &doc).await, None, "and stays so");
}
