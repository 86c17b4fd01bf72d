//! What calls in conflict owe each other, and what looking after an anchor costs: seen from a backend
//! in memory that counts what it is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::conflict::{Claim, Clear};
use super::load::Loaded;
use super::meta::{Change, ClientEntry, Fence, Meta, Record, RecordedOutcome, Stage, Token, Wish};
use super::{Cas, CasBackend, CasDocument, CasError, CasStore};
use crate::id::{ArgumentHash, Attempt, CallId, ClientId, Identity, Seq, SessionId, SessionSecret};
use crate::store::{
    CallRef, Commit, CommitOutcome, DocKey, Encoded, Lease, Outcome, ReadVersion, Store as _, Write,
};
use crate::time::WallTime;

/// Documents in memory.
struct Local {
    state: Mutex<State>,
    /// A write of a document other than a session takes one of these.
    permits: Semaphore,
    /// The next write is done, and its answer does not say so.
    doubt: AtomicBool,
}

#[derive(Default)]
struct State {
    documents: HashMap<DocKey, CasDocument>,
    last: u64,
    reads: HashMap<DocKey, usize>,
    writes: usize,
}

impl Default for Local {
    fn default() -> Local {
        Local {
            state: Mutex::default(),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
            doubt: AtomicBool::new(false),
        }
    }
}

impl Local {
    async fn put(
        &self,
        key: &DocKey,
        over: Option<Cas>,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> Result<Cas, CasError> {
        if !key.as_str().starts_with("rpc_") {
            self.permits.acquire().await.expect("it is never closed").forget();
        }
        let mut state = self.state.lock().unwrap();
        state.writes += 1;
        let known = state.documents.get(key);
        if known.map(|document| document.cas) != over {
            return Err(CasError::Mismatch);
        }
        let body = body.or(known.map(|document| document.body.clone())).unwrap_or_default();
        state.last += 1;
        let cas = Cas(state.last);
        state.documents.insert(key.clone(), CasDocument { cas, body, meta });
        if self.doubt.swap(false, Ordering::Relaxed) {
            return Err(CasError::Ambiguous(Arc::new(std::io::Error::other("told to"))));
        }
        Ok(cas)
    }

    fn meta(&self, key: &str) -> Meta {
        let state = self.state.lock().unwrap();
        Meta::decode(&state.documents[&DocKey::stored(key)].meta).unwrap()
    }

    fn reads_of(&self, start: &str) -> usize {
        let state = self.state.lock().unwrap();
        let of = state.reads.iter().filter(|(key, _)| key.as_str().starts_with(start));
        of.map(|(_, times)| times).sum()
    }

    fn writes(&self) -> usize {
        self.state.lock().unwrap().writes
    }
}

impl CasBackend for Local {
    async fn get(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        let mut state = self.state.lock().unwrap();
        *state.reads.entry(key.clone()).or_default() += 1;
        Ok(state.documents.get(key).cloned())
    }

    async fn insert(&self, key: &DocKey, body: Bytes, meta: Bytes) -> Result<Cas, CasError> {
        self.put(key, None, Some(body), meta).await
    }

    async fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> Result<Cas, CasError> {
        self.put(key, Some(cas), body, meta).await
    }

    async fn remove(&self, key: &DocKey, cas: Cas) -> Result<(), CasError> {
        let mut state = self.state.lock().unwrap();
        match state.documents.get(key) {
            Some(known) if known.cas == cas => state.documents.remove(key).map(drop),
            _ => return Err(CasError::Mismatch),
        };
        Ok(())
    }
}

fn store() -> CasStore<Local> {
    CasStore::with_seed(Local::default(), 1, || WallTime(0))
}

async fn with(store: &CasStore<Local>, key: &str, meta: &Meta) -> Loaded {
    let key = DocKey::stored(key);
    store.backend().put(&key, None, Some(Bytes::from_static(b"1")), meta.encode()).await.unwrap();
    store.inner.load(&key).await.unwrap()
}

fn claim(born: u64) -> Claim {
    Claim {
        call: CallId { client: ClientId(born), seq: Seq(1) },
        attempt: Attempt::FIRST,
        born: WallTime(born),
        anchor: DocKey::stored("a:mine"),
    }
}

fn wish(born: u64, attempt: u32) -> Wish {
    Wish { client: born, seq: 1, attempt, born, anchor: "a:mine".to_owned() }
}

fn stage(born: u64, attempt: u32, change: Change) -> Stage {
    Stage {
        anchor: "a:mine".to_owned(),
        anchor_cas: Some(1),
        client: born,
        seq: 1,
        attempt,
        born,
        token: Token(9, born),
        change,
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_leaves_its_wish_on_a_document_that_is_there_and_not_over_an_older_one() {
    let store = store();
    let key = DocKey::stored("a:1");
    let none = store.inner.load(&key).await.unwrap();
    assert!(none.meta.absent, "nothing is there");
    store.inner.leave_wish(&key, &none, &claim(5)).await;
    assert_eq!(store.backend().writes(), 0, "nothing is made for a wish");

    let bare = with(&store, "a:1", &Meta::default()).await;
    store.inner.leave_wish(&key, &bare, &claim(5)).await;
    assert_eq!(store.backend().meta("a:1").wish, Some(wish(5, 1)));
    for (born, stays) in [(9, 5), (5, 5), (3, 3)] {
        let writes = store.backend().writes();
        let now = store.inner.load(&key).await.unwrap();
        store.inner.leave_wish(&key, &now, &claim(born)).await;
        assert_eq!(store.backend().meta("a:1").wish, Some(wish(stays, 1)), "after {born}");
        let is_news = usize::from(born == stays && born != 5);
        assert_eq!(store.backend().writes() - writes, is_news, "what is known is not written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_goes_with_the_wish_of_its_call_only_where_nobody_comes_back_for_it() {
    let cases = [
        (Clear::Forward, wish(5, 1), None, "it has got what it wanted"),
        (Clear::Forward, wish(5, 2), None, "so has its other attempt"),
        (Clear::Forward, wish(4, 1), Some(wish(4, 1)), "another call has not"),
        (Clear::Abandoned, wish(5, 1), None, "its owner is most likely dead"),
        (Clear::Abandoned, wish(5, 2), Some(wish(5, 2)), "another attempt may live"),
        (Clear::Abandoned, wish(4, 1), Some(wish(4, 1)), "another call, too"),
        (Clear::Back, wish(9, 1), Some(wish(5, 1)), "it comes back, and is older"),
    ];
    for (number, (how, left, stays, why)) in cases.into_iter().enumerate() {
        let store = store();
        let stage = stage(5, 1, Change::Guard);
        let meta = Meta { wish: Some(left), stage: Some(stage), ..Meta::default() };
        let loaded = with(&store, "a:1", &meta).await;
        store.inner.clear_stage(&DocKey::stored("a:1"), &loaded, how).await.unwrap();
        let now = store.backend().meta("a:1");
        assert_eq!((now.stage, now.wish), (None, stays), "{number}: {why}");
    }
}

/// How long a call that has lost waits for whom the anchor names, and how often it looks.
async fn waits(meta: Meta) -> (Duration, usize) {
    let store = store();
    let anchor = with(&store, "a:1", &meta).await;
    let before = Instant::now();
    store.inner.wait_for_winner(&anchor, Token(9, 5), &claim(5)).await;
    (before.elapsed(), store.backend().reads_of("a:mine") + store.backend().reads_of("a:winner"))
}

fn fenced(token: Token) -> Meta {
    let fence =
        Fence { token, winner_client: 3, winner_seq: 1, winner_anchor: "a:winner".to_owned() };
    Meta { fence: Some(fence), ..Meta::default() }
}

#[tokio::test(start_paused = true)]
async fn who_was_fenced_waits_for_its_winner_and_nobody_else_does() {
    let (waited, looks) = waits(fenced(Token(9, 5))).await;
    assert!(waited >= Duration::from_millis(250) && waited < Duration::from_millis(260));
    assert!((30..=64).contains(&looks), "every 4 to 8 ms: {looks}");
    assert_eq!(waits(fenced(Token(9, 6))).await, (Duration::ZERO, 0), "another run was fenced");
}

#[tokio::test(start_paused = true)]
async fn who_lost_waits_for_an_older_call_s_stage_and_not_for_a_younger_one_s() {
    let staged = |born| Meta { stage: Some(stage(born, 1, Change::Guard)), ..Meta::default() };
    let (waited, looks) = waits(staged(3)).await;
    assert!(waited >= Duration::from_millis(250) && looks > 0);
    assert_eq!(waits(staged(7)).await, (Duration::ZERO, 0));
}

fn pinned(seqs: std::ops::Range<u64>, watermark: u64) -> ClientEntry {
    let record = |seq| Record {
        hash: 0,
        outcome: RecordedOutcome::AbortedByDeadline,
        token: Some(Token(9, seq)),
        to_do: vec![format!("b:{seq}")],
    };
    let records = seqs.map(|seq| (seq, record(seq))).collect();
    ClientEntry { incarnation: 1, watermark, records }
}

/// Lets the tasks run that were started.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_acknowledged_records_are_looked_after_and_no_session_of_few() {
    let store = store();
    // Four below the watermark, and one at it.
    let meta = Meta { clients: BTreeMap::from([(1, pinned(1..6, 5))]), ..Meta::default() };
    for _ in 0..3 {
        store.inner.consider_tidying(&DocKey::stored("a:1"), &meta);
    }
    settle().await;
    assert_eq!(store.backend().reads_of("b:"), 4, "once, and the last may still be asked for");
    assert_eq!(store.backend().reads_of("b:5"), 0);
    assert_eq!(store.backend().reads_of("rpc_session:"), 0);
}

#[tokio::test(start_paused = true)]
async fn one_task_looks_after_the_clients_of_a_crowded_anchor() {
    let store = store();
    let clients = (1..=16).map(|client| (client, ClientEntry::default())).collect();
    let meta = Meta { clients, ..Meta::default() };
    for _ in 0..3 {
        store.inner.consider_tidying(&DocKey::stored("a:1"), &meta);
    }
    settle().await;
    assert_eq!(store.backend().reads_of("rpc_session:"), 16, "each once");
    store.inner.consider_tidying(&DocKey::stored("a:1"), &meta);
    settle().await;
    assert_eq!(store.backend().reads_of("rpc_session:"), 16, "and not again for a while");
}

fn call(session: SessionId, seq: u64) -> CallRef {
    CallRef {
        id: CallId { client: session.client, seq: Seq(seq) },
        incarnation: session.incarnation,
        attempt: Attempt::FIRST,
        born: WallTime(seq),
        hash: ArgumentHash(seq),
        anchor: Some(DocKey::stored("a:1")),
        watermark: Seq::FIRST,
    }
}

async fn open(store: &CasStore<Local>) -> SessionId {
    let lease = Lease { until: WallTime(60_000) };
    store.open_session(&Identity::anonymous(), SessionSecret([1; 16]), lease).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_id_whose_session_is_there_already_is_not_given_out() {
    let store = store();
    for client in [1, 2] {
        with(&store, &format!("rpc_session:c{client}"), &Meta::default()).await;
    }
    assert_eq!(open(&store).await.client, ClientId(3));
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_making_was_in_doubt_is_known_again() {
    let store = store();
    assert_eq!(open(&store).await.client, ClientId(1));
    store.backend().doubt.store(true, Ordering::Relaxed);
    assert_eq!(open(&store).await.client, ClientId(2), "its document is its own");
    assert!(!store.backend().doubt.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_without_writes_names_no_run() {
    let store = store();
    let session = open(&store).await;
    let result = Outcome::BusinessError(Encoded::from(b"no"));
    let commit = |seq, writes| Commit {
        call: call(session, seq),
        reads: Vec::new(),
        writes,
        result: result.clone(),
    };
    let write = Write { key: DocKey::stored("a:1"), body: Some(Encoded::from(b"2")) };
    for (seq, writes, is_named) in [(1, vec![], false), (2, vec![write], true)] {
        let ended = store.commit(commit(seq, writes)).await.unwrap();
        assert!(matches!(ended, CommitOutcome::Committed(_)), "{ended:?}");
        let meta = store.backend().meta("a:1");
        let record = meta.record(call(session, seq).id).expect("it is recorded");
        assert_eq!(record.token.is_some(), is_named, "call {seq}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_had_to_wait_for_its_turn_reads_again_before_it_writes() {
    let store = store();
    let session = open(&store).await;
    let key = DocKey::stored("a:1");
    with(&store, "a:1", &Meta::default()).await;
    let seen = store.read(&key).await.unwrap();
    let commit = |seq| Commit {
        call: call(session, seq),
        reads: vec![ReadVersion::new(key.clone(), &seen)],
        writes: vec![Write { key: key.clone(), body: Some(Encoded::from(b"2")) }],
        result: Outcome::Success(Encoded::empty()),
    };
    // The first write waits in the backend, so the second call waits for its turn.
    let all = store.backend().permits.forget_permits(Semaphore::MAX_PERMITS);
    let writes = store.backend().writes();
    let (first, second, ()) =
        tokio::join!(store.commit(commit(1)), store.commit(commit(2)), async {
            settle().await;
            store.backend().permits.add_permits(all);
        });
    assert!(matches!(first, Ok(CommitOutcome::Committed(_))), "{first:?}");
    assert_eq!(second.unwrap(), CommitOutcome::Conflict);
    assert_eq!(store.backend().writes() - writes, 1, "what is old is not tried");
}
