//! The steps of the callers and of the two threads, taken one by one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable};

use super::*;
use crate::store::embedded::checkpoint::{self, WriteError};
use crate::store::embedded::error::FailureCause;
use crate::store::embedded::generation::Generation;
use crate::store::embedded::layout;
use crate::store::embedded::log::{BLOCK, Log};
use crate::store::embedded::shared::Shared;
use crate::store::embedded::snapshot::Snapshot;
use crate::store::embedded::state::{Applied, Checkpoint, State, Verdict};
use crate::store::embedded::writer;
use crate::store::flush::BeginFlush as _;
use crate::store::{CommitOutcome, Store as _, StoreError, StoreFuture};

/// After this, what has not happened never will.
const LIMIT: Duration = Duration::from_secs(60);

fn open_session(state: &mut State) -> SessionId {
    let session = state.sessions.open(&identity(), SECRET, LEASE).unwrap();
    state.changed(session.client);
    session
}

fn apply(state: &mut State, commit: Commit) -> Applied {
    commit.lend(|mut draft| state.apply(&mut draft, 1).unwrap())
}

fn must_apply(state: &mut State, commit: Commit) {
    let applied = apply(state, commit);
    assert!(matches!(applied, Applied::Committed(..)), "{applied:?}");
}

/// Makes what is active durable, as far as anybody can tell.
fn flush(state: &mut State) {
    let (generation, log) = state.begin_flush();
    generation.span.flush.finish(Ok(()));
    state.end_flush(generation.frame, log);
}

fn write(database: &Database, batch: &checkpoint::Batch) -> Snapshot {
    checkpoint::write(database, batch).unwrap_or_else(|error| panic!("{}", error.cause))
}

/// Puts all there is into the tree.
fn checkpoint(state: &mut State, database: &Database) {
    flush(state);
    let batch = state.begin_checkpoint();
    drop(state.end_checkpoint(write(database, &batch), &batch));
    assert!(state.is_in_tree());
}

fn is_recorded(state: &State, session: SessionId, seq: u64) -> bool {
    matches!(state.judge(&call(session, seq)).unwrap(), Verdict::Recorded(..))
}

/// The numbers of the records that are kept beside the tree.
fn recent(state: &State, session: SessionId) -> Vec<u64> {
    state.sessions.get(session.client).unwrap().kept.recent().map(|(seq, _)| seq.0).collect()
}

/// Were a record dropped that the tree does not have, its call would be executed twice.
#[test]
fn what_came_while_a_checkpoint_ran_is_known_after_it() {
    let Opened { mut state, database, .. } = Files::default().parts(1 << 20);
    let session = open_session(&mut state);
    must_apply(&mut state, put(session, 1, "a", b"1"));
    must_apply(&mut state, put(session, 2, "a", b"2"));
    flush(&mut state);
    let batch = state.begin_checkpoint();
    must_apply(&mut state, put(session, 3, "a", b"3"));
    drop(state.end_checkpoint(write(&database, &batch), &batch));
    assert_eq!(recent(&state, session), [3], "the others are in the tree");
    assert!((1..=3).all(|seq| is_recorded(&state, session, seq)));
    assert_eq!(state.recent(&key("a")).unwrap().body.as_deref(), Some(&b"3"[..]));
    checkpoint(&mut state, &database);
    assert_eq!(recent(&state, session), [0; 0]);
    assert!((1..=3).all(|seq| is_recorded(&state, session, seq)));
    assert!(!is_recorded(&state, session, 4));
}

#[test]
fn records_below_the_watermark_leave_the_tree() {
    let Opened { mut state, database, .. } = Files::default().parts(1 << 20);
    let session = open_session(&mut state);
    let records = || -> Vec<u64> {
        let transaction = database.begin_read().unwrap();
        let rows = transaction.open_table(layout::RECORDS).unwrap();
        rows.iter().unwrap().map(|row| row.unwrap().0.value().1).collect()
    };
    for seq in 1..=3 {
        must_apply(&mut state, put(session, seq, "a", b"1"));
    }
    checkpoint(&mut state, &database);
    assert_eq!(records(), [1, 2, 3]);
    let mut last = put(session, 4, "a", b"4");
    last.call.watermark = Seq(3);
    must_apply(&mut state, last);
    checkpoint(&mut state, &database);
    assert_eq!(records(), [3, 4]);
    must_apply(&mut state, put(session, 5, "a", b"5"));
    checkpoint(&mut state, &database);
    assert_eq!(records(), [3, 4, 5], "where the watermark stays, all do");
}

#[test]
fn a_read_of_an_earlier_snapshot_is_compared_with_the_tree() {
    let Opened { mut state, database, .. } = Files::default().parts(1 << 20);
    let session = open_session(&mut state);
    must_apply(&mut state, put(session, 1, "a", b"1"));
    must_apply(&mut state, put(session, 2, "b", b"2"));
    checkpoint(&mut state, &database);
    let [a, b, absent] = ["a", "b", "absent"].map(|name| {
        let document = state.snapshot().document(&key(name)).unwrap();
        ReadVersion::new(key(name), &document)
    });
    must_apply(&mut state, put(session, 3, "a", b"3"));
    checkpoint(&mut state, &database);
    let outdated = apply(&mut state, reading(put(session, 4, "c", b"4"), a));
    assert!(matches!(outdated, Applied::Conflict), "{outdated:?}");
    must_apply(&mut state, reading(put(session, 5, "c", b"5"), b));
    must_apply(&mut state, reading(put(session, 6, "c", b"6"), absent));
}

/// A store whose two threads take their steps when a test says so.
struct Parts {
    shared: Arc<Shared>,
    database: Database,
    session: SessionId,
    log: Image,
}

impl Parts {
    /// Its log has two segments of one block.
    fn new() -> Parts {
        Parts::with(&EmbeddedConfig::default().log_bytes(2 * BLOCK as usize))
    }

    fn with(config: &EmbeddedConfig) -> Parts {
        let files = Files::default();
        let Opened { place, database, mut state } = files.parts(config.log_bytes);
        let session = open_session(&mut state);
        flush(&mut state);
        let shared = Arc::new(Shared::new(place, state, config));
        Parts { shared, database, session, log: files.log }
    }

    fn apply(&self, seq: u64, body: &[u8]) {
        let commit = put(self.session, seq, "a", body);
        let applied = commit
            .lend(|mut draft| self.shared.with_state(|state| state.apply(&mut draft, 1)).unwrap());
        assert!(matches!(applied, Applied::Committed(..)), "{applied:?}");
    }

    fn next_generation(&self) -> Option<(Generation, Log)> {
        self.shared.next_generation()
    }

    fn wants_checkpoint(&self) -> bool {
        self.shared
            .with_state(|state| Ok(matches!(state.checkpoint, Checkpoint::Wanted(_))))
            .unwrap()
    }

    /// Has a call taken by the writer thread that does not fit into the log.
    fn take_too_long(&self) -> (Generation, Log) {
        self.apply(1, &[1; 2 * BLOCK as usize]);
        let taken = self.next_generation().unwrap();
        assert!(self.wants_checkpoint());
        taken
    }
}

#[test]
fn what_is_recorded_is_shown_once_its_flush_has_ended() {
    let Opened { database: _database, mut state, .. } = Files::default().parts(2 * BLOCK as usize);
    let session = open_session(&mut state);
    flush(&mut state);
    must_apply(&mut state, put(session, 1, "a", b"1"));
    let waits = |state: &State| match state.judge(&call(session, 1)).unwrap() {
        Verdict::Recorded(_, flush) => flush.is_some(),
        _ => panic!("it is recorded"),
    };
    assert!(waits(&state), "its generation is active");
    let (generation, log) = state.begin_flush();
    assert!(waits(&state), "its generation is flushing");
    generation.span.flush.finish(Ok(()));
    state.end_flush(generation.frame, log);
    assert!(!waits(&state), "it is durable");
}

#[test]
fn what_has_no_room_in_the_log_is_durable_once_the_tree_holds_it() {
    let parts = Parts::new();
    let (generation, log) = parts.take_too_long();
    assert!(!log.has_room(generation.frame.len()), "not in the other segment either");
    let (shared, database, is_written) = (&parts.shared, &parts.database, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let batch = shared.next_checkpoint().unwrap();
            assert_eq!(batch.last, generation.span.last);
            let snapshot = write(database, &batch);
            is_written.store(true, Ordering::SeqCst);
            shared.end_checkpoint(snapshot, &batch);
        });
        assert!(shared.wait_for_checkpoint().is_ok());
        assert!(is_written.load(Ordering::SeqCst));
    });
}

#[test]
fn a_full_segment_goes_to_the_tree_while_the_other_is_filled() {
    let parts = Parts::new();
    parts.apply(1, b"1");
    let (mut first, mut log) = parts.next_generation().unwrap();
    assert!(!parts.wants_checkpoint());
    log.append(&mut first.frame, &first.span).unwrap();
    parts.shared.end_flush(first.frame, log);
    parts.apply(2, b"2");
    let (second, log) = parts.next_generation().unwrap();
    assert!(parts.wants_checkpoint());
    assert!(log.has_room(second.frame.len()), "of the other segment");
}

/// What it holds may not be in the log, and those who wait for it are told so.
#[test]
fn a_checkpoint_that_a_failure_overtakes_is_not_begun() {
    let parts = Parts::new();
    parts.take_too_long();
    parts.shared.fail("write", FailureCause::Panic("the disk is full".to_owned()));
    assert!(parts.shared.next_checkpoint().is_none());
    let ended = parts.shared.wait_for_checkpoint();
    assert!(matches!(ended, Err(WriteError { may_be_written: false, .. })));
}

#[test]
fn a_failed_checkpoint_closes_the_store() {
    for may_be_written in [false, true] {
        let parts = Parts::new();
        parts.take_too_long();
        assert!(parts.shared.next_checkpoint().is_some());
        let cause = FailureCause::Panic("the disk is full".to_owned());
        parts.shared.fail_checkpoint(WriteError { step: "write", may_be_written, cause });
        match parts.shared.wait_for_checkpoint() {
            Err(error) => assert_eq!(error.may_be_written, may_be_written),
            Ok(()) => panic!("it has failed"),
        }
        let answer = parts.shared.with_state(|_| Ok(()));
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
        assert!(parts.next_generation().is_none() && parts.shared.next_checkpoint().is_none());
    }
}

#[test]
fn the_checkpoint_thread_ends_after_the_writer_thread() {
    let parts = Parts::new();
    parts.shared.end_writer();
    assert!(parts.shared.next_checkpoint().is_none());
}

/// A store whose callers sync, and which has no writer thread: what becomes durable, they did.
fn synced_by_callers() -> Parts {
    Parts::with(&EmbeddedConfig::default().sync_where_called(true))
}

impl Parts {
    fn commit(&self, seq: u64) -> Pin<Box<StoreFuture<'_, Result<CommitOutcome, StoreError>>>> {
        Box::pin(put(self.session, seq, "a", b"x").lend(|draft| self.shared.commit(draft).whole()))
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_lone_commit_is_synced_by_who_waits_for_it() {
    let parts = synced_by_callers();
    for seq in 1..=3 {
        let mut commit = parts.commit(seq);
        let ended = poll(commit.as_mut());
        assert!(matches!(ended, Poll::Ready(Ok(CommitOutcome::Committed(_)))), "{ended:?}");
    }
}

#[test]
fn commits_that_come_together_are_left_to_the_writer_thread() {
    let parts = synced_by_callers();
    let mut both = [parts.commit(1), parts.commit(2)];
    assert!(both.iter_mut().all(|commit| poll(commit.as_mut()).is_pending()));
    let (generation, log) = parts.next_generation().unwrap();
    writer::flush(&parts.shared, generation, log);
    for mut commit in both {
        assert!(poll(commit.as_mut()).is_ready());
    }
}

#[test]
fn what_comes_while_another_writes_waits_for_the_log() {
    let parts = synced_by_callers();
    let mut first = parts.commit(1);
    let (generation, log) = parts.next_generation().unwrap();
    let mut second = parts.commit(2);
    assert!(poll(first.as_mut()).is_pending(), "it is being written");
    assert!(poll(second.as_mut()).is_pending(), "the log is taken");
    writer::flush(&parts.shared, generation, log);
    assert!(poll(first.as_mut()).is_ready());
    let (generation, log) = parts.next_generation().unwrap();
    writer::flush(&parts.shared, generation, log);
    assert!(poll(second.as_mut()).is_ready());
}

/// Has something happen while a caller writes, and says whether the writer thread, which was told of it and
/// found the log taken, gets to what is wanted once the caller has written.
fn gets_on(parts: &Parts, meanwhile: impl FnOnce(), wanted: impl Fn(&State) -> bool) -> bool {
    let sees = |wanted: &dyn Fn(&State) -> bool| {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if parts.shared.change(|state| Ok(wanted(state)), false).unwrap() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    };
    std::thread::scope(|scope| {
        scope.spawn(|| while parts.next_generation().is_some() {});
        let is_idle = sees(&|state| state.writer_idle);
        let disk = parts.log.lock();
        scope.spawn(|| poll(parts.commit(1).as_mut()).is_ready());
        let is_written = sees(&State::is_flushing);
        meanwhile();
        let was_told = sees(&|state| state.writer_idle);
        drop(disk);
        let gets_on = is_idle && is_written && was_told && sees(&wanted);
        parts.shared.fail("go on", FailureCause::Panic("the test is over".to_owned()));
        gets_on
    })
}

#[test]
fn who_has_written_tells_the_writer_thread_what_came_meanwhile() {
    let parts = synced_by_callers();
    let mut second = None;
    let commit = || {
        let mut commit = parts.commit(2);
        assert!(poll(commit.as_mut()).is_pending());
        second = Some(commit);
    };
    // The writer of this test takes what there is, and writes nothing.
    assert!(gets_on(&parts, commit, |state| state.is_flushing() && !state.has_work()));
}

#[test]
fn who_has_written_tells_the_writer_thread_that_the_store_is_closed() {
    let parts = synced_by_callers();
    let close = || parts.shared.close();
    assert!(gets_on(&parts, close, |state| matches!(state.checkpoint, Checkpoint::Wanted(_))));
}

/// Of two who wait, the first is woken and never polled; there is more to write meanwhile, so that the
/// writer thread leaves the second to it at first.
#[test]
fn who_waits_is_woken_by_the_writer_thread_if_not_by_another() {
    #[derive(Default)]
    struct Woken(AtomicBool);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let parts = Parts::with(&EmbeddedConfig::default());
    let woken = [(); 3].map(|()| Arc::<Woken>::default());
    let wait = |commit: &mut Pin<Box<StoreFuture<'_, _>>>, woken: &Arc<Woken>| {
        let waker = Waker::from(Arc::clone(woken));
        assert!(commit.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    };
    let mut both = [parts.commit(1), parts.commit(2)];
    both.iter_mut().zip(&woken).for_each(|(commit, woken)| wait(commit, woken));
    std::thread::scope(|scope| {
        let disk = parts.log.lock();
        scope.spawn(|| writer::run(&parts.shared));
        let within = |reached: &dyn Fn() -> bool| {
            let start = Instant::now();
            while !reached() && start.elapsed() < LIMIT {
                std::thread::yield_now();
            }
            reached()
        };
        let begun =
            within(&|| parts.shared.change(|state| Ok(state.is_flushing()), false).unwrap());
        let mut meanwhile = parts.commit(3);
        wait(&mut meanwhile, &woken[2]);
        drop(disk);
        let reached = within(&|| woken.iter().all(|woken| woken.0.load(Ordering::SeqCst)));
        parts.shared.fail("go on", FailureCause::Panic("the test is over".to_owned()));
        assert!(begun && reached);
    });
}

#[test]
fn a_commit_that_nobody_waits_for_is_left_to_the_writer_thread() {
    let parts = synced_by_callers();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| parts.next_generation());
        while !parts.shared.with_state(|state| Ok(state.writer_idle)).unwrap() {
            std::thread::yield_now();
        }
        drop(parts.commit(1));
        assert!(writer.join().unwrap().is_some(), "it was woken");
    });
}

#[test]
fn a_sync_that_fails_where_it_was_called_closes_the_store() {
    let files = Files::default();
    let config = EmbeddedConfig::default().sync_where_called(true);
    let store = EmbeddedStore::open_on(files.tree.clone(), files.log.clone(), config).unwrap();
    let session = store.shared.with_state(|state| Ok(open_session(state))).unwrap();
    let write = |seq| Box::pin(store.commit(put(session, seq, "a", b"x")));
    while poll(write(1).as_mut()).is_pending() {
        std::thread::yield_now();
    }
    files.log.lock().is_broken = true;
    let mut unknown = write(2);
    let ended = loop {
        if let Poll::Ready(ended) = poll(unknown.as_mut()) {
            break ended;
        }
        std::thread::yield_now();
    };
    assert!(matches!(ended, Err(StoreError::Unknown { .. })), "{ended:?}");
    let ended = poll(write(3).as_mut());
    assert!(matches!(ended, Poll::Ready(Err(StoreError::Unavailable { .. }))), "{ended:?}");
}

#[test]
fn a_store_that_has_failed_writes_nothing_where_it_is_called() {
    let files = Files::default();
    let Opened { place, database: _database, mut state } = files.parts(1 << 20);
    let session = open_session(&mut state);
    flush(&mut state);
    let config = EmbeddedConfig::default().sync_where_called(true);
    let shared = Arc::new(Shared::new(place, state, &config));
    let _commit = put(session, 1, "a", b"1").lend(|draft| shared.commit(draft).whole());
    files.log.written();
    shared.fail("read", FailureCause::Panic("a page is damaged".to_owned()));
    shared.begin_here();
    assert!(files.log.written().is_empty());
}

#[test]
fn a_store_that_is_closed_lets_go_of_its_log_whoever_still_waits() {
    let files = Files::default();
    let config = EmbeddedConfig::default().sync_where_called(true);
    let store = EmbeddedStore::open_on(files.tree.clone(), files.log.clone(), config).unwrap();
    let session = store.shared.with_state(|state| Ok(open_session(state))).unwrap();
    let commit = put(session, 1, "a", b"1").lend(|draft| store.shared.commit(draft).whole());
    let Ok(deferred) = commit.into_deferred() else { panic!("it waits for its sync") };
    drop(store);
    assert_eq!(Arc::strong_count(&files.log.0), 1, "nobody else has the file");
    assert!(matches!(deferred.end(), Ok(Ok(CommitOutcome::Committed(_)))), "it was made durable");
}

/// The rules are there to be broken by tests: one that cannot be broken shows nothing of them.
#[cfg(feature = "test-util")]
#[test]
fn the_checks_of_a_commit_can_be_broken() {
    use crate::rule::{Broken, Rule};

    let Opened { mut state, database, .. } = Files::default().parts(1 << 20);
    let session = open_session(&mut state);
    must_apply(&mut state, put(session, 1, "a", b"1"));
    checkpoint(&mut state, &database);
    let outdated = ReadVersion::new(key("a"), &state.snapshot().document(&key("a")).unwrap());
    must_apply(&mut state, put(session, 2, "a", b"2"));
    let again = || put(session, 2, "a", b"twice");
    let late = || reading(put(session, 3, "a", b"late"), outdated.clone());
    assert!(matches!(apply(&mut state, again()), Applied::Recorded(..)));
    assert!(matches!(apply(&mut state, late()), Applied::Conflict));
    let broken = Broken::rule(Rule::CheckIdAtCommit);
    must_apply(&mut state, again());
    drop(broken);
    let _broken = Broken::rule(Rule::CompareReads);
    must_apply(&mut state, late());
}
