//! Client ids, secrets, incarnations, closing and leases.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rpc::id::{ClientId, Identity, Incarnation, Seq, SessionId, SessionSecret};
use rpc::store::{CommitOutcome, Lease, LookUp, Refusal, Resume, Store};
use rpc::time::WallTime;

use super::{
    Caller, Draft, Harness, LONG_LEASE, SECRET, body, commit, key, look_up, must_be_recorded,
    must_be_refused, must_commit, past, success,
};

const LEASE: Lease = Lease { until: WallTime(1_000_000) };
const A_WHILE: Duration = Duration::from_millis(1);

/// Every session has an id of its own, also once others have been closed.
pub async fn client_ids_are_never_reused(harness: &impl Harness) {
    let store = harness.open().await;
    let mut seen = HashSet::new();
    for round in 0..10 {
        let caller = Caller::open(&*store).await;
        assert_eq!(caller.session.incarnation, Incarnation::FIRST, "a new client's first life");
        assert!(seen.insert(caller.session.client), "an id was given out twice");
        if round % 2 == 0 {
            close(&*store, caller.session).await;
        }
    }
}

/// Nor after a restart, even if the last session was closed.
pub async fn client_ids_are_never_reused_after_a_reopen(harness: &impl Harness) {
    let mut store = harness.open().await;
    let mut seen = HashSet::new();
    for _ in 0..4 {
        let kept = Caller::open(&*store).await;
        let closed = Caller::open(&*store).await;
        assert!(seen.insert(kept.session.client), "an id was given out twice");
        assert!(seen.insert(closed.session.client), "an id was given out twice");
        close(&*store, closed.session).await;
        match harness.reopen(store).await {
            Some(reopened) => store = reopened,
            None => return,
        }
    }
}

/// A session outlives the process that served it.
pub async fn a_session_is_resumed_after_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let identity = Identity::named("alice");
    let session =
        store.open_session(&identity, SECRET, LONG_LEASE).await.expect("a healthy store opens");
    let Some(store) = harness.reopen(store).await else { return };
    let resumed = resume(&*store, &identity, SECRET, session).await;
    assert_eq!(resumed, Resume::Resumed { watermark: Seq::FIRST }, "it goes on");
    let elsewhere = resume(&*store, &Identity::anonymous(), SECRET, session).await;
    assert_eq!(elsewhere, Resume::Closed, "its identity is kept");
}

/// Who does not know the secret gets nothing, and changes nothing.
pub async fn a_wrong_secret_is_refused(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let identity = Identity::anonymous();
    for at in [0, 7, 15] {
        let mut wrong = SECRET;
        wrong.0[at] ^= 0x80;
        let later = caller.in_life(2).session;
        assert_eq!(resume(&*store, &identity, wrong, later).await, Resume::Closed, "wrong secret");
    }
    let none = resume(&*store, &identity, SessionSecret([0; 16]), caller.session).await;
    assert_eq!(none, Resume::Closed, "no secret");
    must_commit(&*store, caller.commit(1)).await;
}

/// Another identity gets nothing, even with the secret.
pub async fn a_wrong_identity_is_refused(harness: &impl Harness) {
    let store = harness.open().await;
    let alice = Identity::named("alice");
    let session = store.open_session(&alice, SECRET, LONG_LEASE).await.expect("healthy");
    for other in [Identity::named("bob"), Identity::named("alic"), Identity::anonymous()] {
        let resumed = resume(&*store, &other, SECRET, session).await;
        assert_eq!(resumed, Resume::Closed, "{other:?} is not alice");
    }
    let resumed = resume(&*store, &alice, SECRET, session).await;
    assert_eq!(resumed, Resume::Resumed { watermark: Seq::FIRST }, "alice is");
}

/// A session that never was.
pub async fn an_unknown_session_is_refused(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let unknown = SessionId { client: ClientId(caller.session.client.0 + 1_000), ..caller.session };
    let resumed = resume(&*store, &Identity::anonymous(), SECRET, unknown).await;
    assert_eq!(resumed, Resume::Closed, "there is no such session");
    let unknown = Caller { session: unknown, ..caller };
    must_be_refused(&*store, &unknown.call(1), Refusal::SessionClosed).await;
    store.renew_session(unknown.session.client, LONG_LEASE).await.expect("harmless");
    close(&*store, unknown.session).await;
}

/// What an earlier life still has on the wire is not executed.
pub async fn a_lower_incarnation_is_fenced(harness: &impl Harness) {
    let store = harness.open().await;
    let first = Caller::open(&*store).await;
    must_commit(&*store, first.commit(1)).await;
    let second = first.in_life(2);
    let resumed = resume(&*store, &Identity::anonymous(), SECRET, second.session).await;
    assert_eq!(resumed, Resume::Resumed { watermark: Seq::FIRST }, "the second life begins");
    must_be_refused(&*store, &first.call(1), Refusal::Fenced).await;
    must_be_refused(&*store, &first.call(2), Refusal::Fenced).await;
    let late = resume(&*store, &Identity::anonymous(), SECRET, first.session).await;
    assert_eq!(late, Resume::Fenced { current: Incarnation(2) }, "the first life has ended");
    must_commit(&*store, second.commit(2)).await;
    let again = resume(&*store, &Identity::anonymous(), SECRET, second.session).await;
    assert_eq!(again, Resume::Resumed { watermark: Seq::FIRST }, "the same life may reconnect");
}

/// A fence holds over a restart.
pub async fn a_fence_survives_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let first = Caller::open(&*store).await;
    let second = first.in_life(7);
    resume(&*store, &Identity::anonymous(), SECRET, second.session).await;
    let Some(store) = harness.reopen(store).await else { return };
    must_be_refused(&*store, &first.call(1), Refusal::Fenced).await;
    let late = resume(&*store, &Identity::anonymous(), SECRET, first.in_life(6).session).await;
    assert_eq!(late, Resume::Fenced { current: Incarnation(7) }, "the sixth life is too late");
    must_commit(&*store, second.commit(1)).await;
}

/// A life that no store has let begin cannot execute anything.
pub async fn an_incarnation_that_never_began_is_refused(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    let doc = key("doc");
    let outcome = commit(&*store, caller.in_life(2).commit(1).putting(&doc, b"x")).await;
    assert!(matches!(outcome, CommitOutcome::Refused(_)), "it has not begun: {outcome:?}");
    let found = look_up(&*store, &caller.in_life(2).call(1)).await;
    assert!(matches!(found, LookUp::Refused(_)), "it has not begun: {found:?}");
    assert_eq!(body(&*store, &doc).await, None, "nothing was applied");
    must_commit(&*store, caller.commit(1)).await;
}

/// A client that comes back asks for what its earlier life had sent.
pub async fn a_new_life_gets_the_old_records(harness: &impl Harness) {
    let mut store = harness.open().await;
    let first = Caller::open(&*store).await;
    let outcome = must_commit(&*store, first.commit(1)).await;
    store = reopened_if_it_can(harness, store).await;
    let second = first.in_life(2);
    resume(&*store, &Identity::anonymous(), SECRET, second.session).await;
    must_be_recorded(&*store, &second.call(1), &outcome).await;
    assert_eq!(look_up(&*store, &second.call(2)).await, LookUp::Unknown, "2 did not run");
}

/// Nothing is executed for a closed session, and nothing is found in it.
pub async fn a_closed_session_executes_nothing(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    must_commit(&*store, caller.commit(1)).await;
    close(&*store, caller.session).await;
    must_be_refused(&*store, &caller.call(1), Refusal::SessionClosed).await;
    must_be_refused(&*store, &caller.call(2), Refusal::SessionClosed).await;
    let resumed = resume(&*store, &Identity::anonymous(), SECRET, caller.session).await;
    assert_eq!(resumed, Resume::Closed, "it is closed");
}

/// A closed session stays so.
pub async fn a_closed_session_stays_closed_after_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    must_commit(&*store, caller.commit(1)).await;
    close(&*store, caller.session).await;
    let Some(store) = harness.reopen(store).await else { return };
    must_be_refused(&*store, &caller.call(1), Refusal::SessionClosed).await;
    must_be_refused(&*store, &caller.call(2), Refusal::SessionClosed).await;
}

/// The earlier life's farewell, delayed, does not end the later one.
pub async fn an_earlier_life_cannot_close_a_later_one(harness: &impl Harness) {
    let store = harness.open().await;
    let first = Caller::open(&*store).await;
    let second = first.in_life(2);
    resume(&*store, &Identity::anonymous(), SECRET, second.session).await;
    close(&*store, first.session).await;
    must_commit(&*store, second.commit(1)).await;
}

/// A farewell that is sent twice.
pub async fn closing_twice_is_harmless(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::open(&*store).await;
    close(&*store, caller.session).await;
    close(&*store, caller.session).await;
    let other = Caller::open(&*store).await;
    assert_ne!(other.session.client, caller.session.client, "the id is not given out again");
}

/// Only the records of the closed session go.
pub async fn closing_one_session_leaves_the_others(harness: &impl Harness) {
    let mut store = harness.open().await;
    let callers =
        [Caller::open(&*store).await, Caller::open(&*store).await, Caller::open(&*store).await];
    for caller in &callers {
        must_commit(&*store, caller.commit(1)).await;
        must_commit(&*store, caller.commit(2)).await;
    }
    close(&*store, callers[1].session).await;
    store = reopened_if_it_can(harness, store).await;
    for caller in [callers[0], callers[2]] {
        for seq in 1..=2 {
            must_be_recorded(&*store, &caller.call(seq), &success(&seq.to_le_bytes())).await;
        }
    }
    must_be_refused(&*store, &callers[1].call(1), Refusal::SessionClosed).await;
}

/// A session is left alone until its lease and the margin have passed.
pub async fn a_lease_ends_after_its_margin(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::with_lease(&*store, LEASE).await;
    assert_eq!(expire(&*store, LEASE.until + A_WHILE).await, 0, "the margin has not passed");
    assert_eq!(expire(&*store, past(LEASE, Duration::ZERO)).await, 0, "nor has it now");
    must_commit(&*store, caller.commit(1)).await;
    assert_eq!(expire(&*store, past(LEASE, A_WHILE)).await, 1, "now it has");
    assert_eq!(expire(&*store, past(LEASE, A_WHILE)).await, 0, "once");
}

/// Traffic keeps a session alive.
pub async fn a_renewed_lease_lasts_longer(harness: &impl Harness) {
    let store = harness.open().await;
    let renewed = Caller::with_lease(&*store, LEASE).await;
    let idle = Caller::with_lease(&*store, LEASE).await;
    let longer = Lease { until: LEASE.until + Duration::from_secs(3_600) };
    store.renew_session(renewed.session.client, longer).await.expect("a healthy store renews");
    assert_eq!(expire(&*store, past(LEASE, A_WHILE)).await, 1, "the idle one ends");
    must_commit(&*store, renewed.commit(1)).await;
    must_be_refused(&*store, &idle.call(1), Refusal::SessionClosed).await;
    assert_eq!(expire(&*store, past(longer, A_WHILE)).await, 1, "in the end the other one, too");
}

/// A server whose clock is behind does not shorten a lease.
pub async fn a_lease_never_moves_back(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::with_lease(&*store, LEASE).await;
    let shorter = Lease { until: WallTime(1) };
    store.renew_session(caller.session.client, shorter).await.expect("a healthy store renews");
    let resumed =
        store.resume_session(&Identity::anonymous(), SECRET, caller.session, shorter).await;
    assert!(matches!(resumed, Ok(Resume::Resumed { .. })), "it goes on: {resumed:?}");
    assert_eq!(expire(&*store, past(shorter, A_WHILE)).await, 0, "it has the longer lease");
    must_commit(&*store, caller.commit(1)).await;
}

/// A client that comes back has a fresh lease.
pub async fn a_resumed_session_has_a_new_lease(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::with_lease(&*store, LEASE).await;
    resume(&*store, &Identity::anonymous(), SECRET, caller.session).await;
    assert_eq!(expire(&*store, past(LEASE, A_WHILE)).await, 0, "its lease is a long one now");
    must_commit(&*store, caller.commit(1)).await;
}

/// An expired session is a closed one.
pub async fn an_expired_session_executes_nothing(harness: &impl Harness) {
    let mut store = harness.open().await;
    let caller = Caller::with_lease(&*store, LEASE).await;
    must_commit(&*store, caller.commit(1)).await;
    assert_eq!(expire(&*store, past(LEASE, A_WHILE)).await, 1, "its lease has ended");
    must_be_refused(&*store, &caller.call(1), Refusal::SessionClosed).await;
    must_be_refused(&*store, &caller.call(2), Refusal::SessionClosed).await;
    let resumed = resume(&*store, &Identity::anonymous(), SECRET, caller.session).await;
    assert_eq!(resumed, Resume::Closed, "too late");
    store.renew_session(caller.session.client, LONG_LEASE).await.expect("harmless");
    store = reopened_if_it_can(harness, store).await;
    must_be_refused(&*store, &caller.call(1), Refusal::SessionClosed).await;
}

/// A lease and its renewal are kept over a restart.
pub async fn leases_survive_a_reopen(harness: &impl Harness) {
    let store = harness.open().await;
    let caller = Caller::with_lease(&*store, LEASE).await;
    let longer = Lease { until: LEASE.until + Duration::from_secs(3_600) };
    store.renew_session(caller.session.client, longer).await.expect("a healthy store renews");
    let Some(store) = harness.reopen(store).await else { return };
    assert_eq!(expire(&*store, past(LEASE, A_WHILE)).await, 0, "it was renewed");
    assert_eq!(expire(&*store, past(longer, A_WHILE)).await, 1, "until then");
}

/// The store after a restart, or as it is if it keeps nothing over one.
async fn reopened_if_it_can(harness: &impl Harness, store: Arc<dyn Store>) -> Arc<dyn Store> {
    if !harness.is_durable() {
        return store;
    }
    harness.reopen(store).await.expect("a durable store can be opened again")
}

async fn resume(
    store: &dyn Store,
    identity: &Identity,
    secret: SessionSecret,
    session: SessionId,
) -> Resume {
    let resumed = store.resume_session(identity, secret, session, LONG_LEASE).await;
    resumed.expect("a healthy store answers")
}

async fn close(store: &dyn Store, session: SessionId) {
    store.close_session(session).await.expect("a healthy store closes a session");
}

async fn expire(store: &dyn Store, now: WallTime) -> usize {
    store.expire_sessions(now).await.expect("a healthy store expires sessions")
}
