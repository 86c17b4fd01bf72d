//! What an anchor gathers goes again on the way of other calls: records that a dead server has left
//! pinned, and entries of clients whose sessions are over. And it goes no earlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rpc::store::cas::CasStore;
use rpc::store::{Lease, Store};
use rpc::time::WallTime;
use rpc_tests::conformance::{Caller, Draft, body, key, must_commit};
use rpc_tests::simulated::SimulatedBackend;
use rpc_tests::simulated::scripted::{Kind, Scripted};

/// From how many pinned records, and from how many clients on, an anchor is looked after.
const MANY_PINNED: u64 = 4;
const MANY_CLIENTS: u64 = 16;
/// How long the clients of an anchor are left alone once they were looked at.
const VISIT_PAUSE: Duration = Duration::from_secs(60);

fn server(documents: &SimulatedBackend, seed: u64) -> CasStore<SimulatedBackend> {
    CasStore::with_seed(documents.clone(), seed, || WallTime(0))
}

/// The records that the anchor `doc` has of each client.
fn records(documents: &SimulatedBackend) -> Vec<Vec<u64>> {
    let found = documents.peek(key("doc").as_str()).expect("it is there");
    let meta: serde_json::Value = serde_json::from_slice(&found.meta).unwrap_or_default();
    let clients = meta["c"].as_object().cloned().unwrap_or_default();
    let of = |entry: &serde_json::Value| {
        let records = entry["r"].as_object().cloned().unwrap_or_default();
        let mut seqs: Vec<u64> = records.keys().map(|seq| seq.parse().expect("a number")).collect();
        seqs.sort_unstable();
        seqs
    };
    clients.values().map(of).collect()
}

/// Lets all tasks run until each waits for a timer.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Commits this number of transfers from `doc` to `b`, each on a server that is killed before its
/// stage becomes a body.
fn killed_after_each_commit(documents: &SimulatedBackend, transfers: u64) -> Caller {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("one more");
    let caller = runtime().block_on(async { Caller::open(&server(documents, 1)).await });
    for seq in 1..=transfers {
        let draft = caller.acknowledging_below(seq).commit(seq);
        let draft =
            draft.putting(&key("doc"), format!("{seq}")).putting(&key("b"), format!("{seq}"));
        // What follows the commit is a task of this runtime, which ends with the answer.
        runtime().block_on(async {
            loop {
                let store = server(documents, 10 + seq);
                let committed = store.commit(draft.clone()).await.expect("healthy");
                if matches!(committed, rpc::store::CommitOutcome::Committed(_)) {
                    break;
                }
            }
        });
    }
    caller
}

#[test]
fn a_record_stays_while_a_stage_may_need_it() {
    let documents = SimulatedBackend::new();
    let caller = killed_after_each_commit(&documents, 1);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("one more");
    runtime.block_on(async {
        let store = server(&documents, 2);
        let next = caller.acknowledging_below(2).commit(2).putting(&key("doc"), b"2");
        must_commit(&store, next).await;
        assert_eq!(
            records(&documents),
            [[1, 2]],
            "the first one's stage lies on the other document"
        );
        assert_eq!(
            body(&store, &key("b")).await.as_deref(),
            Some(&b"1"[..]),
            "all of it or nothing"
        );
    });
}

#[test]
fn records_that_a_dead_server_has_left_pinned_go() {
    for (pinned, goes) in [(MANY_PINNED - 1, false), (MANY_PINNED, true)] {
        let documents = SimulatedBackend::new();
        let caller = killed_after_each_commit(&documents, pinned);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("one more");
        runtime.block_on(async {
            let store = server(&documents, 2);
            for seq in pinned + 1..=pinned + 2 {
                let next = caller.acknowledging_below(seq).commit(seq).putting(&key("doc"), b"x");
                must_commit(&store, next).await;
                settle().await;
            }
            let all: Vec<u64> = (1..=pinned).chain([pinned + 2]).collect();
            let left = if goes { vec![pinned + 2] } else { all };
            assert_eq!(records(&documents), [left]);
            let seen = body(&store, &key("b")).await.expect("it was written");
            assert_eq!(seen, format!("{pinned}").as_bytes());
        });
    }
}

/// While records are looked after, another call's stage lies on the document: it may not commit yet.
#[test]
fn a_stage_of_another_call_is_left_alone() {
    let documents = SimulatedBackend::new();
    let caller = killed_after_each_commit(&documents, MANY_PINNED);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("one more");
    runtime.block_on(async {
        let store = server(&documents, 2);
        let last = format!("{MANY_PINNED}");
        assert_eq!(body(&store, &key("b")).await.as_deref(), Some(last.as_bytes()));
        let slow = Scripted::on(&documents);
        let commit_point = slow.hold(Kind::Write, &key("c"), 0);
        let other = Arc::new(CasStore::with_seed(slow, 3, || WallTime(0)));
        let mut draft = Caller::open(&*other).await.commit(1);
        draft.call.anchor = Some(key("c"));
        let draft = draft.putting(&key("b"), b"other").putting(&key("c"), b"other");
        let committing = tokio::spawn(async move { must_commit(&*other, draft).await });
        commit_point.reached.notified().await;

        let seq = MANY_PINNED + 1;
        let next = caller.acknowledging_below(seq).commit(seq).putting(&key("doc"), b"x");
        must_commit(&store, next).await;
        settle().await;
        assert_eq!(body(&store, &key("b")).await.as_deref(), Some(last.as_bytes()));
        commit_point.go.notify_one();
        committing.await.expect("no panic");
        assert_eq!(body(&store, &key("b")).await.as_deref(), Some(&b"other"[..]));
    });
}

#[tokio::test(start_paused = true)]
async fn entries_of_clients_whose_sessions_are_over_go() {
    let lease = Lease { until: WallTime(1_000) };
    for (clients, goes) in [(MANY_CLIENTS - 2, false), (MANY_CLIENTS - 1, true)] {
        let (documents, now) = (SimulatedBackend::new(), Arc::new(AtomicU64::new(0)));
        let clock = Arc::clone(&now);
        let store = CasStore::with_seed(documents.clone(), 1, move || {
            WallTime(clock.load(Ordering::Relaxed))
        });
        let caller = Caller::open(&store).await;
        for _ in 0..clients {
            let other = Caller::with_lease(&store, lease).await;
            must_commit(&store, other.commit(1).putting(&key("doc"), b"1")).await;
        }
        now.store((lease.until + Lease::MARGIN).0 + 1, Ordering::Relaxed);
        let mut left = Vec::new();
        for seq in 1..=4 {
            let next = caller.acknowledging_below(seq).commit(seq).putting(&key("doc"), b"2");
            must_commit(&store, next).await;
            settle().await;
            left.push(records(&documents).len() as u64);
            // The second visit is the one that finds them closed.
            let wait = if seq == 2 { VISIT_PAUSE } else { Duration::from_secs(1) };
            tokio::time::sleep(wait).await;
        }
        let all = clients + 1;
        let expected = if goes { [all, all, all, 1] } else { [all; 4] };
        assert_eq!(left, expected);
    }
}
