//! The recorded result on every kind of retry, reused ids, and limits.

use std::sync::Arc;

use rpc::MAX_DOCUMENTS_PER_CALL;
use rpc::id::ArgumentHash;
use rpc::store::{
    self, AbortReason, CallRef, Commit, CommitOutcome, Committed, DocKey, Drafted, Lent, LookUp,
    Outcome, ReadVersion, Refusal, Store, StoreError,
};

use super::{
    Caller, Draft, Harness, body, commit, key, look_up, must_be_recorded, must_be_refused,
    must_commit, read, success,
};

/// A retry of a call that ended in `Ok`, on this server and on another.
pub async fn a_retry_gets_the_success(harness: &impl Harness) {
    retry_gets(harness, success(b"the receipt"), true).await;
}

/// A retry of a call that ended in a business error, on this server and on another.
pub async fn a_retry_gets_the_business_error(harness: &impl Harness) {
    let error = Outcome::BusinessError(b"insufficient funds".to_vec().into());
    retry_gets(harness, error, false).await;
}

/// A retry of a call that was aborted, for every reason, on this server and on another.
pub async fn a_retry_gets_the_abort(harness: &impl Harness) {
    for reason in [AbortReason::Deadline, AbortReason::Cancelled, AbortReason::Failed] {
        retry_gets(harness, Outcome::Aborted(reason), false).await;
    }
}

async fn retry_gets(harness: &impl Harness, outcome: Outcome, writes: bool) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let mut run = caller.commit(1).ending(outcome.clone());
    if writes {
        run = run.putting(&doc, b"effect");
    }
    let answered = must_commit(&*store, run).await;
    assert_eq!(answered, outcome, "the commit answers with its own outcome");
    must_be_recorded(&*store, &caller.call(1), &outcome).await;
    let elsewhere: Arc<dyn Store> = harness.other_handle(&store).await;
    must_be_recorded(&*elsewhere, &caller.call(1), &outcome).await;
    let effect = body(&*elsewhere, &doc).await;
    assert_eq!(effect, writes.then(|| b"effect".to_vec()), "the effect is there once");
}

/// A retry after the store was closed and opened.
pub async fn a_retry_after_a_reopen_gets_the_result(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let outcomes = [
        success(b"the receipt"),
        success(b""),
        Outcome::BusinessError(b"no such account".to_vec().into()),
        Outcome::Aborted(AbortReason::Deadline),
        Outcome::Aborted(AbortReason::Cancelled),
        Outcome::Aborted(AbortReason::Failed),
    ];
    for (seq, outcome) in (1..).zip(&outcomes) {
        must_commit(&*store, caller.commit(seq).ending(outcome.clone())).await;
    }
    let Some(store) = harness.reopen(store).await else { return };
    for (seq, outcome) in (1..).zip(&outcomes) {
        must_be_recorded(&*store, &caller.call(seq), outcome).await;
    }
}

/// A result that its run has lent the store, as a server's runs do, is recorded as any other; so is one that
/// was lent whole. What was read at hand is compared as any read.
pub async fn a_lent_result_is_recorded_as_any(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let whole = success(&[7; 300]);
    let lent = [(Lent::Brief(b""), success(b"")), (Lent::Brief(b"receipt"), success(b"receipt"))];
    let lent = [&lent[..], &[(Lent::Whole(&whole), whole.clone())]].concat();
    for (seq, (result, outcome)) in (1..).zip(&lent) {
        let committed = commit_lent(&*store, caller.commit(seq), &doc, *result).await;
        assert_eq!(
            committed,
            CommitOutcome::Committed(must_find(&*store, &caller.call(seq)).await)
        );
        must_be_recorded(&*store, &caller.call(seq), outcome).await;
        // A second run gets what the first has recorded, whatever it lends.
        let again = commit_lent(&*store, caller.commit(seq), &doc, Lent::Brief(b"other")).await;
        assert!(matches!(again, CommitOutcome::Recorded(found) if found.get() == outcome));
        assert_eq!(body(&*store, &doc).await, Some(vec![seq as u8]));
    }
    let Some(store) = harness.reopen(store).await else { return };
    for (seq, (_, outcome)) in (1..).zip(&lent) {
        must_be_recorded(&*store, &caller.call(seq), outcome).await;
    }
    assert_eq!(body(&*store, &doc).await, Some(vec![lent.len() as u8]));
}

/// Writes the call's number, with everything lent. The document is read first, at hand where the store can.
async fn commit_lent(
    store: &dyn Store,
    mut draft: Commit,
    doc: &DocKey,
    result: Lent<'_>,
) -> CommitOutcome {
    let mut at_hand = Some(b"of another document".into());
    let read = match store.read_at_hand(doc, &mut at_hand) {
        Some(read) => {
            let read = read.expect("a healthy store answers a read");
            let known = self::read(store, doc).await;
            assert_eq!(at_hand, known.body, "at hand is what a read reads");
            let read = ReadVersion::at_hand(doc.clone(), read, at_hand.is_some());
            assert_eq!(read, ReadVersion::new(doc.clone(), &known));
            read
        }
        None => ReadVersion::new(doc.clone(), &self::read(store, doc).await),
    };
    draft.reads.push(read);
    let number = draft.call.id.seq.0 as u8;
    let mut draft = draft.putting(doc, vec![number]);
    let (reads, writes) = (&mut draft.reads, &mut draft.writes);
    let drafted = store.commit_draft(store::Draft { call: &draft.call, reads, writes, result });
    drafted.whole().await.expect("a healthy store answers a commit")
}

async fn must_find(store: &dyn Store, call: &CallRef) -> Committed<Outcome> {
    match look_up(store, call).await {
        LookUp::Recorded(found) => found,
        other => panic!("the look-up of {} must find its record, not {other:?}", call.id),
    }
}

/// A first run that was delayed until its retry had committed, even if it read afterwards.
pub async fn a_delayed_first_run_gets_the_record(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    must_commit(&*store, caller.commit(1).putting(&doc, b"by the retry")).await;
    let seen = read(&*store, &doc).await;
    let late = caller.commit(1).reading(&doc, &seen).putting(&doc, b"by the first");
    match commit(&*store, late.ending(success(b"another"))).await {
        CommitOutcome::Recorded(outcome) => {
            assert_eq!(*outcome.get(), success(&1u64.to_le_bytes()), "the retry's result");
        }
        other => panic!("the versions match, but the id is not new: {other:?}"),
    }
    assert_eq!(body(&*store, &doc).await, Some(b"by the retry".to_vec()), "applied once");
}

/// The same, where all of its call was put away, and its document was written again since.
pub async fn a_delayed_first_run_gets_the_record_after_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let outcome = must_commit(&*store, caller.commit(1).putting(&doc, b"once")).await;
    let Some(store) = harness.reopen(store).await else { return };
    must_commit(&*store, caller.commit(2).putting(&doc, b"by another")).await;
    let seen = read(&*store, &doc).await;
    let late = caller.commit(1).reading(&doc, &seen).putting(&doc, b"twice");
    match commit(&*store, late).await {
        CommitOutcome::Recorded(found) => assert_eq!(*found.get(), outcome, "the same result"),
        other => panic!("the versions match, but the id is not new: {other:?}"),
    }
    assert_eq!(body(&*store, &doc).await, Some(b"by another".to_vec()), "applied once");
}

/// A run whose reads have changed because another run of the same call has committed.
pub async fn the_record_wins_over_a_conflict(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let absent = read(&*store, &doc).await;
    let run = || caller.commit(1).reading(&doc, &absent).putting(&doc, b"x");
    let outcome = must_commit(&*store, run()).await;
    match commit(&*store, run()).await {
        CommitOutcome::Recorded(found) => assert_eq!(*found.get(), outcome, "the same result"),
        other => panic!("running again would execute it twice: {other:?}"),
    }
}

/// An abort that is recorded first: the run that comes later is not applied.
pub async fn an_abort_that_wins_stops_the_run(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let aborted = Outcome::Aborted(AbortReason::Deadline);
    must_commit(&*store, caller.commit(1).ending(aborted.clone())).await;
    match commit(&*store, caller.commit(1).putting(&doc, b"too late")).await {
        CommitOutcome::Recorded(found) => assert_eq!(*found.get(), aborted, "it stays aborted"),
        other => panic!("the call was reported as not executed: {other:?}"),
    }
    assert_eq!(body(&*store, &doc).await, None, "nothing was applied");
}

/// An abort that comes after the effect learns of it.
pub async fn an_abort_that_loses_gets_the_result(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let outcome = must_commit(&*store, caller.commit(1).putting(&key("doc"), b"effect")).await;
    let abort = caller.commit(1).ending(Outcome::Aborted(AbortReason::Cancelled));
    match commit(&*store, abort).await {
        CommitOutcome::Recorded(found) => assert_eq!(*found.get(), outcome, "it had ended"),
        other => panic!("the effect has been applied: {other:?}"),
    }
}

/// A call that never ran.
pub async fn an_unknown_call_is_unknown(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    assert_eq!(look_up(&*store, &caller.call(1)).await, LookUp::Unknown, "nothing ran");
    must_commit(&*store, caller.commit(2)).await;
    assert_eq!(look_up(&*store, &caller.call(1)).await, LookUp::Unknown, "1 did not run");
    assert_eq!(look_up(&*store, &caller.call(3)).await, LookUp::Unknown, "3 did not run");
    must_commit(&*store, caller.commit(1)).await;
}

/// A conflict ends nothing: the call runs again under the same id.
pub async fn a_conflict_leaves_no_record(harness: &impl Harness) {
    let store = harness.open().await;
    let (caller, other) = (Caller::open(&*store).await, Caller::open(&*store).await);
    let doc = key("doc");
    let absent = read(&*store, &doc).await;
    must_commit(&*store, other.commit(1).putting(&doc, b"first")).await;
    let draft = caller.commit(1).reading(&doc, &absent).putting(&doc, b"mine");
    assert_eq!(commit(&*store, draft).await, CommitOutcome::Conflict, "it has changed");
    assert_eq!(look_up(&*store, &caller.call(1)).await, LookUp::Unknown, "it has not ended");
    let seen = read(&*store, &doc).await;
    must_commit(&*store, caller.commit(1).reading(&doc, &seen).putting(&doc, b"mine")).await;
    assert_eq!(body(&*store, &doc).await, Some(b"mine".to_vec()), "the second run was applied");
}

/// The same id with other arguments is another call, and refused.
pub async fn a_reused_id_is_refused(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let outcome = must_commit(&*store, caller.commit(1)).await;
    let mut reused = caller.call(1);
    reused.hash = ArgumentHash(!reused.hash.0);
    must_be_refused(&*store, &reused, Refusal::IdReused).await;
    must_be_recorded(&*store, &caller.call(1), &outcome).await;
}

/// The arguments are compared after a restart, too.
pub async fn a_reused_id_is_refused_after_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let outcome = must_commit(&*store, caller.commit(1)).await;
    let Some(store) = harness.reopen(store).await else { return };
    let mut reused = caller.call(1);
    reused.hash = ArgumentHash(!reused.hash.0);
    must_be_refused(&*store, &reused, Refusal::IdReused).await;
    must_be_recorded(&*store, &caller.call(1), &outcome).await;
}

/// Calls of one client end in any order, each with its own record.
pub async fn calls_may_end_in_any_order(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    for seq in [5, 1, 4, 2, 9, 3] {
        must_commit(&*store, caller.commit(seq)).await;
    }
    for seq in [1, 2, 3, 4, 5, 9] {
        must_be_recorded(&*store, &caller.call(seq), &success(&seq.to_le_bytes())).await;
    }
    for seq in [6, 7, 8, 10] {
        assert_eq!(look_up(&*store, &caller.call(seq)).await, LookUp::Unknown, "{seq} did not run");
    }
}

/// The same number of two clients names two calls.
pub async fn ids_of_two_clients_are_apart(harness: &impl Harness) {
    let store = harness.open().await;
    let (one, other) = (Caller::open(&*store).await, Caller::open(&*store).await);
    must_commit(&*store, one.commit(1).ending(success(b"one"))).await;
    assert_eq!(look_up(&*store, &other.call(1)).await, LookUp::Unknown, "the other's did not run");
    must_commit(&*store, other.commit(1).ending(success(b"other"))).await;
    must_be_recorded(&*store, &one.call(1), &success(b"one")).await;
    must_be_recorded(&*store, &other.call(1), &success(b"other")).await;
}

/// Results of some KiB and of a MiB.
pub async fn large_results_come_back_whole(harness: &impl Harness) {
    let mut store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let largest = harness.limits().1.min(1 << 20);
    let large = |seq: u64| {
        let size = [5_000, 70_000, largest][seq as usize - 1];
        success(&(0..size).map(|n| (n % 251) as u8 ^ seq as u8).collect::<Vec<u8>>())
    };
    for seq in 1..=3 {
        must_commit(&*store, caller.commit(seq).ending(large(seq))).await;
    }
    for seq in 1..=3 {
        must_be_recorded(&*store, &caller.call(seq), &large(seq)).await;
    }
    match harness.reopen(store).await {
        Some(reopened) => store = reopened,
        None => return,
    }
    for seq in 1..=3 {
        must_be_recorded(&*store, &caller.call(seq), &large(seq)).await;
    }
}

/// A result of no bytes is a result.
pub async fn empty_results_come_back_empty(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    must_commit(&*store, caller.commit(1).ending(success(b""))).await;
    must_be_recorded(&*store, &caller.call(1), &success(b"")).await;
}

/// What is just allowed is taken.
pub async fn a_commit_at_the_limits_is_taken(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let many = (0..MAX_DOCUMENTS_PER_CALL)
        .fold(caller.commit(1), |draft, n| draft.putting(&key(&format!("many-{n}")), b"x"));
    must_commit(&*store, many).await;
    let (max_document, max_result) = harness.limits();
    let large = vec![7; max_document];
    must_commit(&*store, caller.commit(2).putting(&key("large"), &large)).await;
    assert_eq!(body(&*store, &key("large")).await, Some(large), "it is there, whole");
    let result = success(&vec![8; max_result]);
    must_commit(&*store, caller.commit(3).ending(result.clone())).await;
    must_be_recorded(&*store, &caller.call(3), &result).await;
}

/// What is over a limit is refused with that limit, and the id stays new.
pub async fn a_commit_over_the_limits_is_refused_and_does_nothing(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let small = key("small");
    let base = || caller.commit(1).putting(&small, b"x");
    let (max_document, max_result) = harness.limits();
    let drafts = [
        (0..MAX_DOCUMENTS_PER_CALL)
            .fold(base(), |draft, n| draft.putting(&key(&format!("many-{n}")), b"x")),
        base().putting(&key("large"), vec![7; max_document + 1]),
        base().ending(success(&vec![8; max_result + 1])),
    ];
    for draft in drafts {
        must_be_too_large(store.commit(draft).await);
        assert_eq!(body(&*store, &small).await, None, "nothing was applied");
        assert_eq!(look_up(&*store, &caller.call(1)).await, LookUp::Unknown, "nor recorded");
    }
    // A run's `Tx` sees to its documents, but not to its result.
    let mut lent = base().ending(success(&vec![8; max_result + 1]));
    let (reads, writes) = (&mut lent.reads, &mut lent.writes);
    let result = Lent::Whole(&lent.result);
    match store.commit_draft(store::Draft { call: &lent.call, reads, writes, result }) {
        Drafted::Otherwise(refusing) => must_be_too_large(refusing.await),
        Drafted::Committed(_) | Drafted::Applied(..) => panic!("it is over a limit"),
    }
    assert_eq!(look_up(&*store, &caller.call(1)).await, LookUp::Unknown, "nothing was recorded");
    must_commit(&*store, base()).await;
}

/// By one more than the limit.
fn must_be_too_large(committed: Result<CommitOutcome, StoreError>) {
    match committed {
        Err(StoreError::TooLarge { size, limit, .. }) => {
            assert_eq!(size, limit + 1, "the error says what is too large");
        }
        other => panic!("it is over a limit: {other:?}"),
    }
}
