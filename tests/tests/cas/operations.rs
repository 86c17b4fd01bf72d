//! What a call costs on the compare-and-swap store, in operations of the store behind it.

use rpc::id::Seq;
use rpc::store::cas::CasStore;
use rpc::store::{Commit, CommitOutcome, LookUp, Store};
use rpc::time::WallTime;
use rpc_tests::conformance::{Caller, Draft, key, must_commit, read};
use rpc_tests::simulated::{Operations, SimulatedBackend};

struct World {
    backend: SimulatedBackend,
    store: CasStore<SimulatedBackend>,
    caller: Caller,
}

impl World {
    async fn new() -> World {
        let backend = SimulatedBackend::new();
        let store = CasStore::with_seed(backend.clone(), 1, || WallTime(0));
        let caller = Caller::open(&store).await;
        for (seq, name) in (1..).zip(["a", "b", "c", "d"]) {
            must_commit(&store, anchored(caller.commit(seq), name).putting(&key(name), b"1")).await;
        }
        backend.take_operations();
        World { backend, store, caller: caller.acknowledging_below(5) }
    }

    /// Reads and rewrites these documents in one call, of which the first is the anchor.
    async fn rewrite(&self, seq: u64, names: &[&str]) -> Commit {
        let mut draft = anchored(self.caller.commit(seq), names[0]);
        for name in names {
            let document = key(name);
            let seen = read(&self.store, &document).await;
            draft = draft.reading(&document, &seen).putting(&document, b"2");
        }
        draft
    }

    /// What was asked of the backend since the last time, once what follows a commit is over.
    async fn operations(&self) -> (u64, u64) {
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
        let Operations { gets, writes } = self.backend.take_operations();
        (gets, writes)
    }
}

fn anchored(mut draft: Commit, name: &str) -> Commit {
    draft.call.anchor = Some(key(name));
    draft
}

#[tokio::test]
async fn a_read_is_one_read() {
    let world = World::new().await;
    read(&world.store, &key("a")).await;
    assert_eq!(world.operations().await, (1, 0));
}

#[tokio::test]
async fn a_write_of_one_document_is_one_read_and_one_write() {
    let world = World::new().await;
    let draft = world.rewrite(5, &["a"]).await;
    must_commit(&world.store, draft).await;
    assert_eq!(world.operations().await, (1, 1), "the same as with no protection at all");
}

#[tokio::test]
async fn a_transfer_is_two_reads_and_three_writes() {
    let world = World::new().await;
    let draft = world.rewrite(5, &["a", "b"]).await;
    assert_eq!(world.operations().await, (2, 0));
    let committed = world.store.commit(draft).await.expect("healthy");
    let Operations { gets, writes } = world.backend.take_operations();
    assert!(matches!(committed, CommitOutcome::Committed(_)));
    assert_eq!((gets, writes), (0, 2), "stage and commit point before the response");
    assert_eq!(world.operations().await, (0, 1), "the stage becomes a body after it");
}

#[tokio::test]
async fn a_write_of_n_documents_is_two_n_less_one_writes() {
    for names in [&["a", "b"][..], &["a", "b", "c"], &["a", "b", "c", "d"]] {
        let world = World::new().await;
        let draft = world.rewrite(5, names).await;
        must_commit(&world.store, draft).await;
        let n = names.len() as u64;
        assert_eq!(world.operations().await, (n, 2 * n - 1), "{n} documents");
    }
}

#[tokio::test]
async fn a_retry_on_another_server_is_one_read() {
    let world = World::new().await;
    let draft = world.rewrite(5, &["a", "b"]).await;
    let call = draft.call.clone();
    must_commit(&world.store, draft).await;
    world.operations().await;
    let other = CasStore::with_seed(world.backend.clone(), 2, || WallTime(0));
    // A session that this server has not seen costs one read more, once.
    other.look_up(&call).await.expect("healthy");
    world.operations().await;
    let found = other.look_up(&call).await.expect("healthy");
    assert!(matches!(found, LookUp::Recorded(_)));
    assert_eq!(world.operations().await, (1, 0));
}

#[tokio::test]
async fn metadata_does_not_grow_with_calls_that_are_acknowledged() {
    let mut world = World::new().await;
    let mut sizes = Vec::new();
    for seq in 5..200 {
        world.caller.watermark = Seq(seq);
        let draft = world.rewrite(seq, &["a", "b"]).await;
        must_commit(&world.store, draft).await;
        world.operations().await;
        sizes.push(world.backend.peek("test:a").expect("it is there").meta.len());
    }
    let (early, late) = (sizes[10], *sizes.last().expect("many"));
    assert!(late <= early + 64, "from {early} to {late} bytes");
    // Only the entry of the call that made it: a few digits.
    let made = world.backend.peek("test:c").expect("it is there").meta.len();
    let beside = world.backend.peek("test:b").expect("it is there").meta.len();
    assert!(
        beside.abs_diff(made) < 8,
        "a document beside the anchor keeps nothing: {beside} bytes"
    );
}
