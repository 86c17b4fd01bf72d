//! The embedded store does what the memory store does, whatever is asked in whatever order, and
//! however often it is closed and opened in between.

use proptest::prelude::*;
use rpc::id::{ArgumentHash, ClientId, Identity, Incarnation, Seq, SessionId, SessionSecret};
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use rpc::store::{
    AbortReason, CallRef, Commit, Lease, MemoryStore, Outcome, ReadVersion, Store, Versioned, Write,
};
use rpc::time::WallTime;
use rpc_tests::conformance::key;
use rpc_tests::disk::Disk;

const DOCUMENTS: usize = 4;

/// How large the log may be, by turns: in the smaller ones each change fills a segment, or two do.
const LOG_BYTES: [usize; 3] = [32 << 20, 2 * 4096, 4 * 4096];

/// One question to both stores. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Open { identity: u8, lease: u16 },
    Resume { client: u8, identity: u8, incarnation: u8, secret: bool, lease: u16 },
    Renew { client: u8, lease: u16 },
    Close { client: u8, incarnation: u8 },
    Expire { now: u16 },
    Read { document: usize },
    Confirm { documents: Vec<usize> },
    LookUp(Call),
    Commit { call: Call, reads: Vec<usize>, writes: Vec<(usize, Option<u8>)>, outcome: u8 },
    Reopen,
}

#[derive(Clone, Debug)]
struct Call {
    client: u8,
    incarnation: u8,
    seq: u8,
    hash: u8,
    watermark: u8,
}

fn step() -> impl Strategy<Value = Step> {
    let documents = || prop::collection::vec(0..DOCUMENTS, 0..3);
    let write = (0..DOCUMENTS, prop::option::weighted(0.8, any::<u8>()));
    prop_oneof![
        2 => (0..2u8, any::<u16>()).prop_map(|(identity, lease)| Step::Open { identity, lease }),
        1 => (0..4u8, 0..2u8, 0..4u8, prop::bool::weighted(0.9), any::<u16>()).prop_map(
            |(client, identity, incarnation, secret, lease)| Step::Resume {
                client, identity, incarnation, secret, lease
            }
        ),
        1 => (0..4u8, any::<u16>()).prop_map(|(client, lease)| Step::Renew { client, lease }),
        1 => (0..4u8, 0..3u8).prop_map(|(client, incarnation)| Step::Close { client, incarnation }),
        1 => any::<u16>().prop_map(|now| Step::Expire { now }),
        4 => (0..DOCUMENTS).prop_map(|document| Step::Read { document }),
        2 => documents().prop_map(|documents| Step::Confirm { documents }),
        4 => call().prop_map(Step::LookUp),
        12 => (call(), documents(), prop::collection::vec(write, 0..3), 0..5u8).prop_map(
            |(call, reads, writes, outcome)| Step::Commit { call, reads, writes, outcome }
        ),
        1 => Just(Step::Reopen),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    (0..4u8, prop_oneof![8 => Just(1u8), 1 => 0..4u8], 0..8u8, 0..8u8, 0..10u8).prop_map(
        |(client, incarnation, seq, hash, watermark)| Call {
            client,
            incarnation,
            seq,
            hash: u8::from(hash == 0),
            watermark: watermark.min(5),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_give_the_same_answers(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut pair = Pair::new();
            for step in &steps {
                pair.take(step).await;
            }
        });
    }
}

struct Pair {
    disk: Disk,
    opened: usize,
    embedded: EmbeddedStore,
    memory: MemoryStore,
    /// What was last read of each document, of either store: by now perhaps out of date.
    seen: [Seen; 2],
}

type Seen = [Versioned; DOCUMENTS];

impl Pair {
    fn new() -> Pair {
        let disk = Disk::default();
        let absent = Versioned::new(rpc::store::Version(0), None);
        Pair {
            opened: 0,
            embedded: open(&disk, 0),
            disk,
            memory: MemoryStore::new(),
            seen: std::array::from_fn(|_| std::array::from_fn(|_| absent.clone())),
        }
    }

    async fn take(&mut self, step: &Step) {
        if matches!(step, Step::Reopen) {
            let elsewhere = open(&Disk::default(), 0);
            drop(std::mem::replace(&mut self.embedded, elsewhere));
            self.opened += 1;
            self.embedded = open(&self.disk, self.opened);
            return;
        }
        let ours = answer(&self.embedded, &self.seen[0], step).await;
        let theirs = answer(&self.memory, &self.seen[1], step).await;
        assert_eq!(ours, theirs, "the embedded store and the memory store differ on {step:?}");
        if let Step::Read { document } = step {
            let stores: [&dyn Store; 2] = [&self.embedded, &self.memory];
            for (store, seen) in stores.into_iter().zip(&mut self.seen) {
                seen[*document] = store.read(&doc(*document)).await.expect("healthy");
            }
        }
    }
}

/// Opens the store for the `number`th time.
fn open(disk: &Disk, number: usize) -> EmbeddedStore {
    let config = EmbeddedConfig::default()
        .log_bytes(LOG_BYTES[number % LOG_BYTES.len()])
        .sync_where_called(number % 2 == 1);
    EmbeddedStore::open_on(disk.tree(), disk.log(), config).expect("the store opens")
}

/// What a store says, in words that two stores share.
async fn answer(store: &dyn Store, seen: &Seen, step: &Step) -> String {
    let known: Vec<_> =
        (0..DOCUMENTS).map(|number| ReadVersion::new(doc(number), &seen[number])).collect();
    let chosen = |numbers: &[usize]| numbers.iter().map(|n| known[*n].clone()).collect::<Vec<_>>();
    match step {
        Step::Open { identity, lease } => {
            format!(
                "{:?}",
                store.open_session(&named(*identity), secret(true), until(*lease)).await
            )
        }
        Step::Resume { client, identity, incarnation, secret: right, lease } => {
            let session = session(*client, *incarnation);
            let (identity, secret) = (named(*identity), secret(*right));
            let resumed = store.resume_session(&identity, secret, session, until(*lease));
            format!("{:?}", resumed.await)
        }
        Step::Renew { client, lease } => {
            format!("{:?}", store.renew_session(ClientId((*client).into()), until(*lease)).await)
        }
        Step::Close { client, incarnation } => {
            format!("{:?}", store.close_session(session(*client, *incarnation)).await)
        }
        Step::Expire { now } => {
            format!("{:?}", store.expire_sessions(past(*now)).await)
        }
        Step::Read { document } => {
            let found = store.read(&doc(*document)).await.expect("healthy");
            // Versions are each store's own; whether one has changed is not. That of an absence says
            // nothing.
            let is_as_seen = found.body.as_ref().map(|_| found.version == seen[*document].version);
            format!("{is_as_seen:?} {:?}", found.body)
        }
        Step::Confirm { documents } => format!("{:?}", store.confirm(&chosen(documents)).await),
        Step::LookUp(call) => format!("{:?}", store.look_up(&reference(call)).await),
        Step::Commit { call, reads, writes, outcome } => {
            let mut once: Vec<Write> = Vec::new();
            for (number, body) in writes {
                let body = body.map(|byte| vec![byte; usize::from(byte) * 5].into());
                once.retain(|write| write.key != doc(*number));
                once.push(Write { key: doc(*number), body });
            }
            let commit = Commit {
                call: reference(call),
                reads: chosen(reads),
                writes: once,
                result: outcome_of(*outcome, call),
            };
            format!("{:?}", store.commit(commit).await)
        }
        Step::Reopen => unreachable!("it asks nothing"),
    }
}

fn doc(number: usize) -> rpc::store::DocKey {
    key(&format!("document-{number}"))
}

fn named(identity: u8) -> Identity {
    if identity == 0 { Identity::anonymous() } else { Identity::named("alice") }
}

fn secret(right: bool) -> SessionSecret {
    SessionSecret([u8::from(right); 16])
}

fn until(lease: u16) -> Lease {
    Lease { until: WallTime(lease.into()) }
}

/// Leases end within the first 2^16 milliseconds; so do they with the margin here.
fn past(now: u16) -> WallTime {
    WallTime(u64::from(now) / 4) + Lease::MARGIN
}

fn session(client: u8, incarnation: u8) -> SessionId {
    SessionId { client: ClientId(client.into()), incarnation: Incarnation(incarnation.into()) }
}

fn reference(call: &Call) -> CallRef {
    CallRef {
        id: rpc::id::CallId { client: ClientId(call.client.into()), seq: Seq(call.seq.into()) },
        incarnation: Incarnation(call.incarnation.into()),
        attempt: rpc::id::Attempt::FIRST,
        born: rpc::time::WallTime(0),
        hash: ArgumentHash(call.hash.into()),
        anchor: None,
        watermark: Seq(call.watermark.into()),
    }
}

fn outcome_of(outcome: u8, call: &Call) -> Outcome {
    match outcome {
        0 | 1 => Outcome::Success(vec![call.seq; 3].into()),
        2 => Outcome::BusinessError(vec![call.seq].into()),
        3 => Outcome::Aborted(AbortReason::Deadline),
        _ => Outcome::Aborted(AbortReason::Cancelled),
    }
}
