//! A commit whose future is dropped at every await there is, and another one after it that is
//! dropped at every await too: each call is applied whole or not at all, and asking again settles it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rpc::id::Attempt;
use rpc::store::cas::{Cas, CasBackend, CasDocument, CasError, CasStore};
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use rpc::store::{AbortReason, Commit, CommitOutcome, DocKey, LookUp, Outcome, Store};
use rpc::time::WallTime;

use super::{Counts, Settings, Side, Step, Violation};
use crate::conformance::{Caller, Draft as _, key, success};
use crate::disk::Disk;
use crate::simulated::SimulatedBackend;
use crate::world::{quietly, quietly_with_threads};

/// What a dropped commit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Writes its anchor.
    One,
    /// Writes its anchor and another document.
    Two,
    /// Writes its anchor and another document, and rests on a third.
    Guarded,
    /// Removes its anchor and writes another document.
    Delete,
    /// Writes one document and names no anchor.
    Anchorless,
    /// Ends without effect.
    Aborted,
}

const SHAPES: [(Shape, &str); 6] = [
    (Shape::One, "one"),
    (Shape::Two, "two"),
    (Shape::Guarded, "guarded"),
    (Shape::Delete, "delete"),
    (Shape::Anchorless, "anchorless"),
    (Shape::Aborted, "aborted"),
];

/// The time that a run may take, virtual where it can be.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a dropped commit is left alone, for whatever it has started.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// How often a call may start over when nobody disturbs it.
const MAX_RUNS: u32 = 32;

/// Enumerates the awaits of every shape on both kinds of store, and their pairs on the one that has
/// stages.
pub(super) fn explore(
    settings: &Settings,
    hit: &mut BTreeMap<(Step, Side), u64>,
    progress: &mut dyn FnMut(&str),
) -> Result<Counts, Box<Violation>> {
    let mut counts = Counts::default();
    for (shape, name) in SHAPES {
        for first in 0.. {
            let place = format!("{name}:{first}");
            let dropped = go(&place, shape, first, None)?;
            progress(&place);
            if !dropped {
                counts.steps += u64::from(first);
                break;
            }
            counts.points += 1;
            // A future that is dropped before an await is one that was dropped after what it did.
            *hit.entry((Step::Await, Side::Before)).or_default() += 1;
            *hit.entry((Step::Await, Side::After)).or_default() += 1;
            for second in 0.. {
                if counts.pairs >= settings.pairs {
                    counts.is_cut = true;
                    break;
                }
                let place = format!("{name}:{first},{second}");
                let dropped = go(&place, shape, first, Some(second))?;
                progress(&place);
                if !dropped {
                    break;
                }
                counts.pairs += 1;
            }
        }
        for at in 0.. {
            let place = format!("embedded-{name}:{at}");
            let dropped = go_embedded(&place, shape, at)?;
            progress(&place);
            if !dropped {
                break;
            }
            counts.others += 1;
        }
    }
    Ok(counts)
}

/// Runs one place again: `two:3,9`, `embedded-two:1`.
pub(super) fn replay(place: &str) -> Result<String, String> {
    let form = "a dropped commit is named SHAPE:AWAIT[,AWAIT], as in two:3,9";
    let (name, awaits) = place.split_once(':').ok_or(form)?;
    let of_embedded = name.strip_prefix("embedded-");
    let named = of_embedded.unwrap_or(name);
    let shape = SHAPES.iter().find(|(_, known)| *known == named).ok_or(form)?.0;
    let awaits: Result<Vec<u32>, _> = awaits.split(',').map(str::parse).collect();
    let (first, second) = match awaits.map_err(|_| form)?.as_slice() {
        [first] => (*first, None),
        [first, second] if of_embedded.is_none() => (*first, Some(*second)),
        _ => return Err(form.to_owned()),
    };
    let went = match of_embedded {
        Some(_) => go_embedded(place, shape, first),
        None => go(place, shape, first, second),
    };
    let dropped = went.map_err(|violation| violation.what)?;
    Ok(format!("dropped/{place} holds{}", if dropped { "" } else { ", and has fewer awaits" }))
}

/// Drops one call at its await `first`, another one on the same documents at `second`, then settles
/// both elsewhere. Returns whether the last drop came before the end.
fn go(place: &str, shape: Shape, first: u32, second: Option<u32>) -> Result<bool, Box<Violation>> {
    let violated = |what| Box::new(Violation { place: format!("dropped/{place}"), what });
    let ran = quietly(LIMIT, async || {
        let store = SimulatedBackend::new();
        let open = |seed| CasStore::with_seed(Awaits(store.clone()), seed, || WallTime(0));
        let (one, other) = (open(1), open(2));
        let callers = [Caller::open(&one).await, Caller::open(&other).await];
        prepare(&one, callers[0]).await;
        let mut dropped = drop_at(first, run(&one, callers[0], shape, 1)).await;
        if let Some(second) = second {
            dropped = drop_at(second, run(&other, callers[1], shape, 1)).await;
        }
        tokio::time::sleep(LEFT_ALONE).await;
        let calls = if second.is_some() { 2 } else { 1 };
        let elsewhere = open(3);
        settle(&elsewhere, &callers[..calls], shape).await;
        for name in ["anchor", "other", "third"] {
            let key = key(name);
            elsewhere.read(&key).await.expect("a healthy store answers");
            let meta = store.peek(key.as_str()).map(|document| document.meta);
            let meta = meta.filter(|meta| !meta.is_empty());
            let meta = meta.map(|meta| serde_json::from_slice::<serde_json::Value>(&meta));
            let has_stage = meta.is_some_and(|meta| meta.expect("it is JSON").get("s").is_some());
            assert!(!has_stage, "a stage is left on {name}");
        }
        dropped
    });
    ran.map_err(violated)
}

/// As `go`, on the embedded store. A commit there has two awaits: for room, if others have taken all
/// of it, and for a sync of the disk.
fn go_embedded(place: &str, shape: Shape, at: u32) -> Result<bool, Box<Violation>> {
    let violated = |what| Box::new(Violation { place: format!("dropped/{place}"), what });
    if at > 1 {
        return Ok(false);
    }
    let ran = quietly_with_threads(LIMIT, async || {
        let disk = Disk::default();
        let config = || EmbeddedConfig::default().max_undurable_bytes(1);
        let open = || EmbeddedStore::open_on(disk.tree(), disk.log(), config());
        let store = open().expect("the store opens");
        let caller = Caller::open(&store).await;
        prepare(&store, caller).await;
        let held = disk.hold_syncs();
        let filler = caller.commit(2_000).putting(&key("filler"), [1]);
        let mut filler = Box::pin(store.commit(filler));
        if at == 0 {
            assert!(drop_at(0, filler.as_mut()).await, "it waits for its sync");
        }
        let waited = drop_at(0, run(&store, caller, shape, 1)).await;
        drop((filler, held));
        drop(store);
        let store = open().expect("the store opens again");
        settle(&store, &[caller], shape).await;
        waited
    });
    ran.map_err(violated)
}

/// Runs a future up to its await of this number, and drops it there. Whether it was not over yet.
async fn drop_at(number: u32, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut awaits = 0;
    std::future::poll_fn(|context| {
        if future.as_mut().poll(context).is_ready() {
            return Poll::Ready(false);
        }
        if awaits == number {
            return Poll::Ready(true);
        }
        awaits += 1;
        Poll::Pending
    })
    .await
}

async fn prepare(store: &dyn Store, caller: Caller) {
    for (seq, name) in [(1001, "anchor"), (1002, "other"), (1003, "third")] {
        let mut commit = caller.commit(seq).putting(&key(name), []);
        commit.call.anchor = Some(key(name));
        store.commit(commit).await.expect("a healthy store takes it");
    }
}

/// Settles the calls as a server does that their clients ask next, and checks the effects.
async fn settle(store: &dyn Store, callers: &[Caller], shape: Shape) {
    for caller in callers {
        let told = run(store, *caller, shape, 2).await;
        let again = run(store, *caller, shape, 3).await;
        assert_eq!(told, again, "two results of one call");
    }
    let times = usize::from(shape != Shape::Aborted);
    for name in touched(shape) {
        let body = store.read(&key(name)).await.expect("a healthy store answers").body;
        // What was removed is made anew by the next call, and removed by the one after that.
        if shape == Shape::Delete && *name == "anchor" {
            assert!(body.is_none(), "the document is removed");
            continue;
        }
        let body = body.unwrap_or_default();
        for caller in callers {
            let mark = mark_of(*caller);
            let found = body.chunks_exact(8).filter(|chunk| **chunk == mark).count();
            assert_eq!(found, times, "how often the call of {:?} stands in {name}", caller.session);
        }
    }
}

fn touched(shape: Shape) -> &'static [&'static str] {
    match shape {
        Shape::One | Shape::Aborted => &["anchor"],
        Shape::Anchorless => &["other"],
        Shape::Two | Shape::Guarded | Shape::Delete => &["anchor", "other"],
    }
}

fn mark_of(caller: Caller) -> [u8; 8] {
    caller.session.client.0.to_le_bytes()
}

/// One attempt of call 1, until it has ended.
async fn run(store: &dyn Store, caller: Caller, shape: Shape, attempt: u32) -> Outcome {
    for _ in 0..MAX_RUNS {
        let mut commit = draft(store, caller, shape).await;
        commit.call.attempt = Attempt(attempt);
        if attempt > 1
            && let LookUp::Recorded(outcome) =
                store.look_up(&commit.call).await.expect("a healthy store answers")
        {
            return outcome.into_inner();
        }
        match store.commit(commit).await.expect("a healthy store answers") {
            CommitOutcome::Committed(outcome) | CommitOutcome::Recorded(outcome) => {
                return outcome.into_inner();
            }
            CommitOutcome::Conflict => {}
            CommitOutcome::Refused(refusal) => panic!("the call was refused: {refusal:?}"),
        }
    }
    panic!("the call starts over without end");
}

async fn draft(store: &dyn Store, caller: Caller, shape: Shape) -> Commit {
    let (anchor, other, third) = (key("anchor"), key("other"), key("third"));
    let mut commit = caller.commit(1);
    commit.call.anchor = Some(anchor.clone());
    match shape {
        Shape::One => commit = append(store, commit, &anchor, caller).await,
        Shape::Two | Shape::Guarded => {
            commit = append(store, commit, &anchor, caller).await;
            commit = append(store, commit, &other, caller).await;
            if shape == Shape::Guarded {
                let seen = store.read(&third).await.expect("a healthy store answers");
                commit = commit.reading(&third, &seen);
            }
        }
        Shape::Delete => {
            let seen = store.read(&anchor).await.expect("a healthy store answers");
            commit = commit.reading(&anchor, &seen).deleting(&anchor);
            commit = append(store, commit, &other, caller).await;
        }
        Shape::Anchorless => {
            commit.call.anchor = None;
            commit = append(store, commit, &other, caller).await;
        }
        Shape::Aborted => commit.result = Outcome::Aborted(AbortReason::Deadline),
    }
    if shape != Shape::Aborted {
        commit.result = success(&(commit.reads.len() as u64).to_le_bytes());
    }
    commit
}

async fn append(store: &dyn Store, commit: Commit, key: &DocKey, caller: Caller) -> Commit {
    let seen = store.read(key).await.expect("a healthy store answers");
    let mut body = seen.body.as_ref().map(|body| body.to_vec()).unwrap_or_default();
    body.extend(mark_of(caller));
    commit.reading(key, &seen).putting(key, body)
}

/// The simulated store with an await before and after everything that it does.
#[derive(Clone, Debug)]
struct Awaits(SimulatedBackend);

impl Awaits {
    async fn around<T>(&self, act: impl Future<Output = T>) -> T {
        tokio::task::yield_now().await;
        let done = act.await;
        tokio::task::yield_now().await;
        done
    }
}

impl CasBackend for Awaits {
    async fn get(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        self.around(self.0.get(key)).await
    }

    async fn insert(
        &self,
        key: &DocKey,
        body: bytes::Bytes,
        meta: bytes::Bytes,
    ) -> Result<Cas, CasError> {
        self.around(self.0.insert(key, body, meta)).await
    }

    async fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<bytes::Bytes>,
        meta: bytes::Bytes,
    ) -> Result<Cas, CasError> {
        self.around(self.0.replace(key, cas, body, meta)).await
    }

    async fn remove(&self, key: &DocKey, cas: Cas) -> Result<(), CasError> {
        self.around(self.0.remove(key, cas)).await
    }
}
