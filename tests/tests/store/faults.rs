//! The embedded store on a disk that fails at every step there is.
//!
//! Each test runs the script of `rpc_tests::disk_script` again and again, and lets the fault strike one step
//! later each time, until the store is closed before the fault strikes. Steps are the writes, syncs
//! and changes of length that the store makes, from opening it on.

use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore, OpenError};
use rpc::store::{Store, StoreError};
use rpc_tests::conformance::{Caller, Draft, LONG_LEASE, SECRET, key};
use rpc_tests::disk::{Disk, Fault, Survival};

use rpc_tests::disk_script::Log;

/// How large the log may be. In the first the script's large document goes right to the tree; in
/// the second every call or two fill a segment, so that there is always something on its way to the
/// tree.
const LOG_BYTES: [usize; 2] = [1 << 20, 2 * 4096];

const SURVIVALS: [Survival; 4] =
    [Survival::Nothing, Survival::Everything, Survival::AllButLast, Survival::LastOnly];

/// The power fails at every step, and all, nothing or some of what was not synced is found.
#[test]
fn a_power_cut_at_any_step_loses_no_acknowledged_call() {
    let steps = at_every_step(Fault::PowerCut, |disk, mut log, step| {
        let survival = match step % 8 {
            pick @ 0..4 => SURVIVALS[pick as usize],
            _ => Survival::Some(step),
        };
        check(&disk.after_power_cut(survival), &mut log);
    });
    assert!(steps > 100, "the script takes only {steps} steps");
}

/// The same step, all ways in which unsynced changes can survive it: the moments around each sync
/// matter most, and these are where they differ.
#[test]
fn whatever_survives_a_power_cut_is_whole() {
    at_every_step(Fault::PowerCut, |disk, log, step| {
        if step % 7 != 0 {
            return;
        }
        let some = (0..4).map(|seed| Survival::Some(step * 4 + seed));
        for survival in SURVIVALS.into_iter().chain(some) {
            check(&disk.after_power_cut(survival), &mut log.clone());
        }
    });
}

/// The power fails again while the store recovers.
#[test]
fn a_power_cut_while_recovering_loses_nothing_either() {
    at_every_step(Fault::PowerCut, |disk, mut log, step| {
        if step % 3 != 0 {
            return;
        }
        let found = disk.after_power_cut(Survival::Some(step));
        found.plan(1 + step % 37, Fault::PowerCut);
        if let Ok(store) = open(&found) {
            let _ = block_on(log.check(&store));
        }
        check(&found.after_power_cut(Survival::Some(step + 1)), &mut log);
    });
}

/// The process is killed, another one opens the files and answers from them, and then the power
/// fails: what the second one said must be there.
#[test]
fn what_is_answered_after_a_kill_is_durable() {
    at_every_step(Fault::PowerCut, |disk, mut log, _| {
        let found = disk.repaired();
        let store = open(&found).expect("what a killed process left can be opened");
        block_on(log.ask(&store)).expect("the disk works");
        let cut = found.after_power_cut(Survival::Nothing);
        drop(store);
        check(&cut, &mut log);
    });
}

/// The disk is full from some step on: nothing is acknowledged until there is room and the store
/// was opened again.
#[test]
fn a_full_disk_at_any_step() {
    at_every_step(Fault::Full, |disk, mut log, _| check(&disk.repaired(), &mut log));
}

/// An fsync fails, though what it was to write arrived.
#[test]
fn a_failed_sync_whose_data_arrived() {
    at_every_step(Fault::SyncFailsArrived, |disk, mut log, _| check(&disk.repaired(), &mut log));
}

/// An fsync fails, and what it was to write is lost.
#[test]
fn a_failed_sync_whose_data_is_lost() {
    at_every_step(Fault::SyncFailsLost, |disk, mut log, _| check(&disk.repaired(), &mut log));
}

/// A new, empty store is made on a disk that fails: it can be told from a damaged one.
#[test]
fn a_failure_while_the_store_is_opened_is_an_error() {
    let prepared = prepared();
    for step in 1.. {
        let disk = prepared.repaired();
        disk.plan(step, Fault::PowerCut);
        match open(&disk) {
            Ok(_) if !disk.has_struck() => return assert!(step > 1, "opening takes no step"),
            Ok(_) => {}
            Err(OpenError::Io { .. } | OpenError::Damaged { .. }) => {}
            Err(other) => panic!("a power cut is no such error: {other}"),
        }
    }
}

/// Runs the script with a fault at step 1, 2, 3, … and hands each outcome to `then`, until the
/// script ends first. Returns the number of steps of the script.
fn at_every_step(fault: Fault, mut then: impl FnMut(&Disk, Log, u64)) -> u64 {
    let of_one = |config: EmbeddedConfig| {
        let prepared = prepared();
        for step in 1.. {
            let disk = prepared.repaired();
            disk.plan(step, fault);
            let log = run_script(&disk, &config);
            if !disk.has_struck() {
                return step - 1;
            }
            then(&disk, log, step);
        }
        unreachable!("the script has an end")
    };
    let all = LOG_BYTES.map(|log_bytes| EmbeddedConfig::default().log_bytes(log_bytes));
    let synced_where_called = all[0].clone().sync_where_called(true);
    all.into_iter().chain([synced_where_called]).map(of_one).sum()
}

/// Opens the store, runs the script and closes the store, or fails at it.
fn run_script(disk: &Disk, config: &EmbeddedConfig) -> Log {
    let mut log = Log::default();
    match open_with(disk, config) {
        Ok(store) => {
            let ended = block_on(log.run(&store));
            if ended.is_err() {
                assert!(disk.has_struck(), "without a fault the script runs to its end: {ended:?}");
                answers_nothing(&store);
            }
        }
        Err(error) => assert!(disk.has_struck(), "the store must open: {error}"),
    }
    log
}

/// A disk with an empty store that was closed cleanly.
fn prepared() -> Disk {
    let disk = Disk::default();
    drop(open(&disk).expect("a new store can be made"));
    disk
}

fn open(disk: &Disk) -> Result<EmbeddedStore, OpenError> {
    open_with(disk, &EmbeddedConfig::default().log_bytes(LOG_BYTES[0]))
}

fn open_with(disk: &Disk, config: &EmbeddedConfig) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open_on(disk.tree(), disk.log(), config.clone())
}

/// Opens what is found, and checks it twice: the second time after a clean close.
fn check(found: &Disk, log: &mut Log) {
    for _ in 0..2 {
        let store = open(found).expect("what is found after a fault can be opened");
        block_on(log.check(&store)).expect("the disk works again");
    }
}

/// Once it has failed, a store answers no more, and says what to do.
fn answers_nothing(store: &EmbeddedStore) {
    block_on(async {
        let identity = rpc::id::Identity::anonymous();
        let caller = Caller {
            session: rpc::id::SessionId {
                client: rpc::id::ClientId(1),
                incarnation: rpc::id::Incarnation::FIRST,
            },
            watermark: rpc::id::Seq::FIRST,
        };
        let doc = key("list-0");
        let answers = [
            store.read(&doc).await.err(),
            store.confirm(&[]).await.err(),
            store.look_up(&caller.call(1)).await.err(),
            store.commit(caller.commit(1).putting(&doc, b"x")).await.err(),
            store.open_session(&identity, SECRET, LONG_LEASE).await.err(),
            store.resume_session(&identity, SECRET, caller.session, LONG_LEASE).await.err(),
            store.renew_session(caller.session.client, LONG_LEASE).await.err(),
            store.close_session(caller.session).await.err(),
            store.expire_sessions(rpc::time::WallTime(0)).await.err(),
        ];
        for answer in answers {
            match answer {
                Some(error @ StoreError::Unavailable { .. }) => {
                    let text = error.to_string();
                    assert!(text.contains("restart the server"), "what to do is missing: {text}");
                    assert!(
                        text.contains("simulated") || text.contains("storage"),
                        "cause: {text}"
                    );
                }
                other => panic!("a store that has failed answers nothing, not {other:?}"),
            }
        }
    });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}
