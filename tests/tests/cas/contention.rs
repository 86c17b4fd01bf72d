//! Many clients want the same documents through three servers: everything ends, each call is applied
//! exactly once, nobody waits for long, nobody is left out.
//!
//! Virtual time, one thread, seeds. An operation of the store takes 2 to 4 ms. The *bounds* follow
//! from the right of way: no call is held up by a younger one for longer than one run, so that it
//! waits for the calls of the other 63 clients at most, and for those in line. Each of them needs
//! one run if nothing disturbs it, and each server can disturb it with the one run that it has going
//! on these documents. So:
//!
//! ```text
//! latency ≤ clients × servers × operations of a run × longest operation
//! ```
//!
//! With faults, some runs wait for an owner that is dead (a quarter of a second, then it is fenced)
//! or for an answer that was ambiguous. One operation in thirty fails and one attempt in twenty is cut
//! off: the bound allows for one such wait for every third client.

use std::collections::HashMap;
use std::time::Duration;

use rpc::store::cas::CasStore;
use rpc::store::{AbortReason, CommitOutcome, LookUp, Outcome, Store};
use rpc::time::WallTime;
use rpc_tests::conformance::{Caller, Draft, key, read};
use rpc_tests::contention::{Case, Ended, Load, Protocol, Stop};
use rpc_tests::simulated::{Faults, SimulatedBackend};
use tokio::time::Instant;

const CLIENTS: u64 = 64;
const SERVERS: u64 = 3;
const CALLS: u64 = 3;
const SEEDS: std::ops::Range<u64> = 0..2;
const DELAY: Duration = Duration::from_millis(2);
const LONGEST_OPERATION: Duration = Duration::from_millis(4);
/// What the wait for a dead owner and for an ambiguous answer come to.
const LONGEST_TROUBLE: Duration = Duration::from_millis(300);

/// Reads and writes of a run that follow one another, with what follows its commit.
fn operations(case: Case) -> u32 {
    match case {
        Case::Hot => 2,
        _ => 5,
    }
}

fn load(case: Case, seed: u64) -> Load {
    Load {
        case,
        protocol: Protocol::ExactlyOnce,
        clients: CLIENTS,
        servers: SERVERS,
        stop: Stop::Calls(CALLS),
        faults: Faults { delay: DELAY, ..Faults::default() },
        cut_off: 0,
        limit: Duration::from_secs(3_000),
        seed,
        list_calls: true,
    }
}

fn bound(case: Case) -> Duration {
    let runs = u32::try_from(CLIENTS * SERVERS).expect("few");
    LONGEST_OPERATION * operations(case) * runs
}

fn bound_with_faults(case: Case) -> Duration {
    bound(case) + LONGEST_TROUBLE * u32::try_from(CLIENTS / 3).expect("few")
}

/// Without faults, and with every fault that there is.
fn contend(case: Case) {
    for seed in SEEDS {
        let quiet = load(case, seed);
        assert_well_ended(quiet, bound(case));
        let faults =
            Faults { unavailable: 10, ambiguous_done: 10, ambiguous_not_done: 10, delay: DELAY };
        assert_well_ended(Load { faults, cut_off: 50, ..quiet }, bound_with_faults(case));
    }
}

fn assert_well_ended(load: Load, bound: Duration) {
    let ended = load.run();
    let figures = &ended.figures;
    let (reads, writes) = figures.operations_per_call();
    println!(
        "{}, seed {}, faults {}: p50 {:?}, p99 {:?}, max {:?} (bound {bound:?}), {:.0} calls/s, {reads:.1} reads and {writes:.1} writes per call",
        load.case,
        load.seed,
        load.cut_off > 0,
        figures.latency(0.5),
        figures.latency(0.99),
        figures.latency(1.0),
        figures.throughput(),
    );
    assert_eq!(figures.done.len() as u64, CLIENTS * CALLS, "every call has ended");
    assert_exactly_once(&ended);
    let longest = figures.latency(1.0);
    assert!(longest <= bound, "{load:?}: a call took {longest:?}, the bound is {bound:?}");
}

fn assert_exactly_once(ended: &Ended) {
    let mut found: HashMap<(u64, (u64, u64)), u32> = HashMap::new();
    for (number, calls) in (0..).zip(&ended.lists) {
        for call in calls {
            *found.entry((number, *call)).or_default() += 1;
        }
    }
    for done in &ended.figures.done {
        for account in &done.accounts {
            let times = found.remove(&(*account, done.name));
            assert_eq!(times, Some(1), "call {:?} on account {account}", done.name);
        }
    }
    assert!(found.is_empty(), "calls nobody made: {found:?}");
}

#[test]
fn a_hot_account() {
    contend(Case::Hot);
}

#[test]
fn a_hot_payee() {
    contend(Case::HotPayee);
}

#[test]
fn opposite_transfers() {
    contend(Case::Opposite);
}

#[test]
fn a_ring_of_three() {
    contend(Case::Ring(3));
}

#[test]
fn a_ring_of_eight() {
    contend(Case::Ring(8));
}

/// In the same time, everybody gets about as much done: at least half of what the luckiest does.
#[test]
fn nobody_starves() {
    for (case, seconds) in
        [(Case::Hot, 2), (Case::Opposite, 4), (Case::Ring(3), 4), (Case::Ring(8), 2)]
    {
        let stop = Stop::After(Duration::from_secs(seconds));
        let ended = Load { stop, list_calls: false, ..load(case, 1) }.run();
        let (least, most) = ended.figures.fairness();
        println!("{case}: {least} to {most} calls per client");
        assert!(least > 0 && least * 2 >= most, "{case}: {least} to {most} calls per client");
    }
}

/// Three clients only, on three servers that know nothing of each other: what orders runs of one
/// process does not help here, the right of way must.
#[test]
fn nobody_starves_among_servers() {
    for case in [Case::Hot, Case::Opposite, Case::Ring(3)] {
        for seed in SEEDS {
            let stop = Stop::After(Duration::from_secs(4));
            let few = Load { clients: SERVERS, stop, list_calls: false, ..load(case, seed) };
            let ended = few.run();
            let (least, most) = ended.figures.fairness();
            println!("{case}, seed {seed}: {least} to {most} calls per client");
            assert!(least * 3 >= most, "{case}, seed {seed}: {least} to {most} calls per client");
        }
    }
}

/// A server ends a call at its deadline by a commit that has read nothing. Nothing that it has read
/// can have changed: however hot the document is, it must not be told of a conflict.
#[test]
fn a_commit_that_read_nothing_ends_on_a_hot_document() {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(end_a_call_on_a_hot_document());
}

async fn end_a_call_on_a_hot_document() {
    const BUSY: u64 = 16;
    let backend = SimulatedBackend::new();
    backend.set_faults(1, Faults { delay: DELAY, ..Faults::default() });
    let hot = key("doc");
    let mut busy = tokio::task::JoinSet::new();
    for seed in 0..BUSY {
        let (backend, hot) = (backend.clone(), hot.clone());
        busy.spawn(async move {
            let store = CasStore::with_seed(backend, seed, || WallTime(0));
            let caller = Caller::open(&store).await;
            for seq in 1.. {
                loop {
                    let seen = read(&store, &hot).await;
                    let draft = caller.acknowledging_below(seq).commit(seq).reading(&hot, &seen);
                    let ended = store.commit(draft.putting(&hot, b"busy")).await.expect("healthy");
                    if matches!(ended, CommitOutcome::Committed(_)) {
                        break;
                    }
                }
            }
        });
    }
    let store = CasStore::with_seed(backend.clone(), BUSY, || WallTime(0));
    let caller = Caller::open(&store).await;
    for seq in 1..=20 {
        let began = Instant::now();
        let abort = caller.commit(seq).ending(Outcome::Aborted(AbortReason::Deadline));
        let ended = store.commit(abort).await.expect("healthy");
        assert!(matches!(ended, CommitOutcome::Committed(_)), "call {seq}: {ended:?}");
        let found = store.look_up(&caller.call(seq)).await.expect("healthy");
        assert!(matches!(found, LookUp::Recorded(_)), "call {seq}: {found:?}");
        let bound = LONGEST_OPERATION * 2 * u32::try_from((BUSY + 1) * (BUSY + 1)).expect("few");
        assert!(began.elapsed() <= bound, "call {seq} took {:?}", began.elapsed());
    }
    busy.abort_all();
}
