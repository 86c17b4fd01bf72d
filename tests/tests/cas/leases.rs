//! Leases on the store with compare-and-swap, to the millisecond: what a server may do at their end,
//! when a session is closed, and when nothing of it is remembered any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rpc::id::{Identity, SessionId};
use rpc::store::cas::CasStore;
use rpc::store::{DocKey, Lease, LookUp, Refusal, Resume, Store};
use rpc::time::WallTime;
use rpc_tests::conformance::{
    Caller, Draft, LONG_LEASE, SECRET, key, look_up, must_be_refused, must_commit,
};
use rpc_tests::simulated::scripted::{Kind, two_servers};
use rpc_tests::simulated::{Faults, Operations, SimulatedBackend};

const LEASE: Lease = Lease { until: WallTime(10_000_000) };
const PAST_MARGIN: u64 = LEASE.until.0 + 60_000 + 1;

/// Documents, and what time it is for all servers on them.
#[derive(Clone, Default)]
struct World {
    documents: SimulatedBackend,
    now: Arc<AtomicU64>,
}

impl World {
    fn server(&self, seed: u64) -> CasStore<SimulatedBackend> {
        let now = Arc::clone(&self.now);
        CasStore::with_seed(self.documents.clone(), seed, move || {
            WallTime(now.load(Ordering::Relaxed))
        })
    }

    fn it_is(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    fn session(&self, session: SessionId) -> Option<serde_json::Value> {
        let found = self.documents.peek(&format!("rpc_session:{}", session.client))?;
        Some(serde_json::from_slice(&found.body).expect("it is JSON"))
    }

    fn is_closed(&self, session: SessionId) -> bool {
        self.session(session).expect("it is there")["closed"] == true
    }

    /// Whether the document remembers calls of this session.
    fn remembers(&self, name: &str, session: SessionId) -> bool {
        let found = self.documents.peek(key(name).as_str()).expect("it is there");
        let meta: serde_json::Value = serde_json::from_slice(&found.meta).unwrap_or_default();
        meta["c"].get(session.client.0.to_string()).is_some()
    }

    fn reads(&self) -> u64 {
        let Operations { gets, writes } = self.documents.take_operations();
        assert_eq!(writes, 0, "nothing is written");
        gets
    }
}

async fn resume(store: &dyn Store, session: SessionId, lease: Lease) -> Resume {
    let identity = Identity::anonymous();
    store.resume_session(&identity, SECRET, session, lease).await.expect("healthy")
}

#[tokio::test]
async fn nothing_is_executed_from_the_end_of_the_lease_on() {
    let world = World::default();
    let store = world.server(1);
    let caller = Caller::with_lease(&store, LEASE).await;
    world.it_is(LEASE.until.0 - 1);
    must_commit(&store, caller.commit(1).putting(&key("doc"), b"1")).await;
    world.it_is(LEASE.until.0);
    must_be_refused(&store, &caller.call(2), Refusal::SessionClosed).await;
}

#[tokio::test]
async fn a_lease_that_another_server_has_renewed_is_seen_when_the_known_one_ends() {
    let world = World::default();
    let (one, other) = (world.server(1), world.server(2));
    let caller = Caller::with_lease(&one, LEASE).await;
    other.renew_session(caller.session.client, LONG_LEASE).await.expect("healthy");
    world.it_is(LEASE.until.0);
    assert_eq!(look_up(&one, &caller.call(1)).await, LookUp::Unknown);
    world.documents.take_operations();
    assert_eq!(look_up(&one, &caller.call(1)).await, LookUp::Unknown);
    assert_eq!(world.reads(), 1, "the anchor; the lease is known now");
}

#[tokio::test]
async fn a_new_life_is_known_to_a_server_that_knew_the_old_one() {
    let world = World::default();
    let (one, other) = (world.server(1), world.server(2));
    let caller = Caller::with_lease(&one, LEASE).await;
    let again = caller.in_life(caller.session.incarnation.0 + 1);
    assert!(matches!(resume(&other, again.session, LEASE).await, Resume::Resumed { .. }));
    assert_eq!(look_up(&one, &again.call(1)).await, LookUp::Unknown, "it asks the store");
    must_be_refused(&one, &caller.call(2), Refusal::Fenced).await;
}

#[tokio::test]
async fn a_server_that_knows_a_session_asks_for_it_no_more() {
    let world = World::default();
    let store = world.server(1);
    let (one, other) =
        (Caller::with_lease(&store, LEASE).await, Caller::with_lease(&store, LEASE).await);
    world.documents.take_operations();
    for caller in [one, other, one, other] {
        assert_eq!(look_up(&store, &caller.call(1)).await, LookUp::Unknown);
        assert_eq!(world.reads(), 1, "the anchor");
    }
    store.renew_session(one.session.client, LEASE).await.expect("healthy");
    assert_eq!(world.reads(), 1, "the lease is no longer than it was");
    store.close_session(one.session).await.expect("healthy");
    world.it_is(LEASE.until.0 + 1);
    world.documents.take_operations();
    let refused = look_up(&store, &one.call(1)).await;
    assert_eq!(refused, LookUp::Refused(Refusal::SessionClosed));
    assert_eq!(world.reads(), 0, "closed is closed");
}

#[tokio::test]
async fn a_session_can_be_resumed_to_the_end_of_its_margin() {
    for (now, ends) in [(PAST_MARGIN - 1, false), (PAST_MARGIN, true)] {
        let world = World::default();
        let store = world.server(1);
        let caller = Caller::with_lease(&store, LEASE).await;
        world.it_is(now);
        let resumed = resume(&store, caller.session, LONG_LEASE).await;
        assert_eq!(resumed == Resume::Closed, ends, "{resumed:?}");
    }
}

/// Compared in a time that does not tell how much of it is right, and still in every byte.
#[tokio::test]
async fn a_secret_whose_mistakes_would_cancel_out_is_refused() {
    let store = World::default().server(1);
    let caller = Caller::with_lease(&store, LEASE).await;
    let mut secret = SECRET;
    secret.0[0] ^= 1;
    secret.0[1] ^= 1;
    let identity = Identity::anonymous();
    let resumed = store.resume_session(&identity, secret, caller.session, LEASE).await;
    assert_eq!(resumed.expect("healthy"), Resume::Closed);
}

#[tokio::test]
async fn a_search_reads_a_session_whose_lease_lasts_once() {
    let world = World::default();
    let store = world.server(1);
    let caller = Caller::with_lease(&store, LEASE).await;
    world.documents.take_operations();
    let expired = store.expire_sessions(WallTime(PAST_MARGIN - 1)).await.expect("healthy");
    // The ids, this session, and 63 that are not there.
    assert_eq!((expired, world.reads()), (0, 65));
    assert!(!world.is_closed(caller.session));
}

#[tokio::test]
async fn a_closed_session_is_forgotten_a_lease_later() {
    let world = World::default();
    let store = world.server(1);
    let caller = Caller::with_lease(&store, LEASE).await;
    store.close_session(caller.session).await.expect("healthy");
    let last = LEASE.until + Lease::MARGIN + Lease::DEFAULT;
    assert_eq!(store.expire_sessions(last).await.expect("healthy"), 0);
    assert!(world.is_closed(caller.session), "a moment too early");
    let after = WallTime(last.0 + 1);
    assert_eq!(store.expire_sessions(after).await.expect("healthy"), 0, "it was closed before");
    assert_eq!(world.session(caller.session), None);
}

/// Another server may know the lease, and not that the session was closed.
#[tokio::test]
async fn what_a_closed_session_did_is_remembered_to_the_end_of_its_lease_and_margin() {
    let world = World::default();
    let store = world.server(1);
    let caller = Caller::with_lease(&store, LEASE).await;
    must_commit(&store, caller.commit(1).putting(&key("doc"), b"1")).await;
    store.close_session(caller.session).await.expect("healthy");
    world.it_is(PAST_MARGIN - 1);
    store.collect(&key("doc")).await.expect("healthy");
    assert!(world.remembers("doc", caller.session));
    world.it_is(PAST_MARGIN);
    store.collect(&key("doc")).await.expect("healthy");
    assert!(!world.remembers("doc", caller.session));
}

#[tokio::test]
async fn a_session_is_closed_before_anything_of_it_is_forgotten() {
    let world = World::default();
    let store = world.server(1);
    let caller = Caller::with_lease(&store, LEASE).await;
    must_commit(&store, caller.commit(1).putting(&key("doc"), b"1")).await;
    world.it_is(PAST_MARGIN - 1);
    store.collect(&key("doc")).await.expect("healthy");
    assert!(!world.is_closed(caller.session), "the margin lasts");
    world.it_is(PAST_MARGIN);
    store.collect(&key("doc")).await.expect("healthy");
    assert!(world.is_closed(caller.session));
    assert!(world.remembers("doc", caller.session), "the next look tells");
    store.collect(&key("doc")).await.expect("healthy");
    assert!(!world.remembers("doc", caller.session));
}

#[tokio::test]
async fn a_server_gives_out_the_ids_that_were_allotted_to_it_and_no_others() {
    const BLOCK: u64 = 64;
    let world = World::default();
    let (one, other) = (world.server(1), world.server(2));
    for expected in 1..=2 * BLOCK {
        assert_eq!(Caller::open(&one).await.session.client.0, expected);
    }
    assert_eq!(Caller::open(&other).await.session.client.0, 2 * BLOCK + 1);
    assert_eq!(Caller::open(&one).await.session.client.0, 3 * BLOCK + 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_write_was_ambiguous_is_opened_once() {
    let world = World::default();
    world.documents.set_faults(1, Faults { ambiguous_done: 1000, ..Faults::default() });
    let caller = Caller::open(&world.server(1)).await;
    assert_eq!(caller.session.client.0, 1);
    assert_eq!(world.documents.len(), 2, "the ids and the session");
}

/// A server finds a lease ended, and another one renews it before the session is closed: to a moment
/// whose margin ends just now.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_while_it_is_looked_at_does_not_end() {
    for by_search in [true, false] {
        let two = two_servers(|| WallTime(PAST_MARGIN)).await;
        let (server, other) = (&two.first.1, &two.second.1);
        let caller = Caller::with_lease(&**server, LONG_LEASE).await;
        // A document of its own: who opened the others has a lease that lasts.
        let mut draft = caller.commit(1).putting(&key("own"), b"1");
        draft.call.anchor = Some(key("own"));
        must_commit(&**server, draft).await;
        let session = DocKey::new("rpc_session", &caller.session.client).expect("a short name");
        let body = two.documents.peek(session.as_str()).expect("it is there");
        let body = String::from_utf8(body.body.to_vec()).expect("it is JSON");
        let ended = body.replace(&LONG_LEASE.until.0.to_string(), &LEASE.until.0.to_string());
        two.documents.rewrite(&session, ended);

        let looking = two.first.0.hold(Kind::Get, &session, 1);
        let store = Arc::clone(server);
        let look = tokio::spawn(async move {
            if by_search {
                store.expire_sessions(WallTime(PAST_MARGIN)).await.expect("healthy")
            } else {
                usize::from(store.collect(&key("own")).await.expect("healthy"))
            }
        });
        looking.reached.notified().await;
        let just = Lease { until: WallTime(LEASE.until.0 + 1) };
        other.renew_session(caller.session.client, just).await.expect("healthy");
        looking.go.notify_one();
        assert_eq!(look.await.expect("no panic"), 0);
        let found = two.documents.peek(session.as_str()).expect("it is there");
        let found: serde_json::Value = serde_json::from_slice(&found.body).expect("it is JSON");
        assert_eq!(found["closed"], false, "{found}");
    }
}
