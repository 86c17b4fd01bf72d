//! The lock, and what passes between the callers, the writer thread and the checkpoint thread.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use super::checkpoint::{Batch, WriteError};
use super::error::{Failure, FailureCause};
use super::generation::Generation;
use super::log::Log;
use super::shown_after;
use super::snapshot::Snapshot;
use super::state::{Applied, Checkpoint, State};
use super::young::Document;
use super::{EmbeddedConfig, writer};
use crate::rule::{Captured, Rule, kept};
use crate::store::flush::{BeginFlush, UntilDurable};
use crate::store::{
    AtHand, CommitOutcome, Committed, DocKey, Draft, Drafted, Encoded, StoreError, StoreFuture,
    Versioned, limits,
};

/// What the store and its threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Arc<str>,
    state: Mutex<State>,
    /// Wakes the writer thread.
    work: Condvar,
    /// Wakes the checkpoint thread.
    checkpoint_work: Condvar,
    /// One permit for each byte that may be applied and not durable. First come, first served.
    pub(super) room: Semaphore,
    max_permits: u32,
    /// See [`EmbeddedConfig::sync_where_called`](super::EmbeddedConfig::sync_where_called).
    syncs_where_called: bool,
    pub(super) stops_after_failure: Captured,
}

impl Shared {
    pub(super) fn new(place: Arc<str>, state: State, config: &EmbeddedConfig) -> Shared {
        let max_permits = config.max_undurable_bytes.max(1);
        Shared {
            place,
            state: Mutex::new(state),
            work: Condvar::new(),
            checkpoint_work: Condvar::new(),
            room: Semaphore::new(max_permits as usize),
            max_permits,
            syncs_where_called: config.sync_where_called,
            stops_after_failure: Captured::of(Rule::StopAfterFailedSync),
        }
    }

    pub(super) fn read(&self, key: &DocKey) -> Result<Versioned, StoreError> {
        let newest = |document: &Document| Versioned::new(document.version, document.body.clone());
        self.find(key, newest)?.or_else(|snapshot| self.read_in(&snapshot, key))
    }

    /// As [`read`](Shared::read), with the body to where it stays.
    pub(super) fn read_to(
        &self,
        key: &DocKey,
        body: &mut Option<Encoded>,
    ) -> Result<AtHand, StoreError> {
        let newest = |document: &Document| {
            match &document.body {
                Some(known) => body.get_or_insert_default().copy_from(known),
                None => *body = None,
            }
            AtHand::of(document.version)
        };
        match self.find(key, newest)? {
            Ok(document) => Ok(document),
            Err(snapshot) => Ok(AtHand::taken(self.read_in(&snapshot, key)?, body)),
        }
    }

    /// Looks at a document that is not in the tree yet; for any other, the snapshot of the tree to read.
    fn find<T>(
        &self,
        key: &DocKey,
        look: impl FnOnce(&Document) -> T,
    ) -> Result<Result<T, Arc<Snapshot>>, StoreError> {
        self.with_state(|state| {
            Ok(match state.recent(key) {
                Some(document) => Ok(look(document)),
                None => Err(Arc::clone(state.snapshot())),
            })
        })
    }

    fn read_in(&self, snapshot: &Snapshot, key: &DocKey) -> Result<Versioned, StoreError> {
        let read = snapshot.document(key);
        read.map_err(|cause| StoreError::Unavailable { cause: self.fail("read", cause) })
    }

    pub(super) fn commit<'draft>(self: &Arc<Self>, draft: Draft<'draft>) -> Drafted<'_, 'draft> {
        let weight = limits::weight(draft.writes, draft.result);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let weight = weight.min(self.max_permits);
        match self.room.try_acquire_many(weight) {
            Ok(room) => self.apply(draft, room),
            Err(TryAcquireError::Closed) => {
                Drafted::Otherwise(StoreFuture::ready(Err(self.closed())))
            }
            Err(TryAcquireError::NoPermits) => {
                let commit = draft.into_commit();
                Drafted::Otherwise(StoreFuture::wait(async move {
                    match self.room.acquire_many(weight).await {
                        Ok(room) => commit.lend(|draft| self.apply(draft, room).whole()).await,
                        Err(_) => Err(self.closed()),
                    }
                }))
            }
        }
    }

    /// Applies a commit that has room.
    fn apply<'draft>(
        self: &Arc<Self>,
        mut draft: Draft<'draft>,
        room: SemaphorePermit<'_>,
    ) -> Drafted<'static, 'draft> {
        let apply = |state: &mut State| state.apply(&mut draft, room.num_permits());
        // Where its waiter begins the flush, the writer thread need not hear of it yet.
        let applied = match self.change(apply, !self.syncs_where_called) {
            Ok(applied) => applied,
            Err(error) => return Drafted::Otherwise(StoreFuture::ready(Err(error))),
        };
        Drafted::Otherwise(match applied {
            Applied::Committed(flush) => {
                // The flush gives the room back.
                room.forget();
                if !kept(Rule::WaitForSync) {
                    return Drafted::Committed(Committed::new(draft.result));
                }
                let beginner = self.syncs_where_called.then(|| Arc::clone(self) as _);
                return Drafted::Applied(UntilDurable::new(flush, beginner), draft.result);
            }
            Applied::Recorded(outcome, flush) => {
                shown_after(flush, CommitOutcome::Recorded(Committed::new(outcome)))
            }
            Applied::Refused(refusal, flush) => shown_after(flush, CommitOutcome::Refused(refusal)),
            Applied::Conflict => StoreFuture::ready(Ok(CommitOutcome::Conflict)),
        })
    }

    /// Runs one step under the lock, and wakes the writer thread if it left work.
    pub(super) fn with_state<T>(
        &self,
        step: impl FnOnce(&mut State) -> Result<T, FailureCause>,
    ) -> Result<T, StoreError> {
        self.change(step, true)
    }

    /// As [`with_state`](Shared::with_state); whether the writer thread hears of work.
    pub(super) fn change<T>(
        &self,
        step: impl FnOnce(&mut State) -> Result<T, FailureCause>,
        tell_writer: bool,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        if let Some(failure) = state.failure() {
            return Err(StoreError::Unavailable { cause: Arc::clone(failure) as _ });
        }
        let answer = step(&mut state).map_err(|cause| StoreError::Unavailable {
            cause: self.fail_locked(&mut state, "read", cause),
        })?;
        if tell_writer {
            self.tell_writer(state);
        }
        Ok(answer)
    }

    /// Wakes the writer thread if there is something to do for it and it sleeps.
    fn tell_writer(&self, mut state: MutexGuard<'_, State>) {
        let wake = state.writer_idle && (state.has_work() || state.closing);
        if wake {
            state.writer_idle = false;
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// What the writer thread has to write next, and the log to write it to; `None` if its work is
    /// over.
    ///
    /// Where it has no room in the log, a checkpoint that includes it has begun, and the log goes on
    /// with its other segment, or not at all if it does not fit there either.
    pub(super) fn next_generation(&self) -> Option<(Generation, Log)> {
        let mut state = self.lock();
        loop {
            if state.failure().is_some() {
                return None;
            }
            if state.is_flushing() {
                // A caller writes, and when it has done so tells whoever is idle.
                state.writer_idle = true;
            } else if state.has_work() {
                if state.log_has_room(state.frame_len()) {
                    return Some(state.begin_flush());
                }
                if matches!(state.checkpoint, Checkpoint::Idle | Checkpoint::Failed { .. }) {
                    let (generation, mut log) = state.begin_flush();
                    self.want_checkpoint(&mut state);
                    log.switch_for(generation.frame.len());
                    return Some((generation, log));
                }
            } else if state.closing {
                match state.checkpoint {
                    Checkpoint::Idle if !state.is_in_tree() => self.want_checkpoint(&mut state),
                    Checkpoint::Idle | Checkpoint::Failed { .. } => return None,
                    Checkpoint::Wanted(_) | Checkpoint::Running => {}
                }
            } else {
                state.writer_idle = true;
            }
            state = self.wait(&self.work, state);
            state.writer_idle = false;
        }
    }

    pub(super) fn end_flush(&self, frame: Vec<u8>, log: Log) {
        self.lock().end_flush(frame, log);
    }

    /// As [`end_flush`](Shared::end_flush); gives what came meanwhile, and the log to write it to, if it
    /// has room there.
    pub(super) fn end_flush_and_go_on(
        &self,
        frame: Vec<u8>,
        log: Log,
    ) -> Option<(Generation, Log)> {
        let mut state = self.lock();
        state.end_flush(frame, log);
        let may_go_on = state.failure().is_none() && state.has_work();
        (may_go_on && state.log_has_room(state.frame_len())).then(|| state.begin_flush())
    }

    /// Waits for the end of the checkpoint that was begun last.
    pub(super) fn wait_for_checkpoint(&self) -> Result<(), WriteError> {
        let mut state = self.lock();
        loop {
            match state.checkpoint {
                Checkpoint::Idle => return Ok(()),
                Checkpoint::Failed { may_be_written } => {
                    let cause = FailureCause::Panic("a checkpoint without a cause".into());
                    return Err(WriteError { step: "write", may_be_written, cause });
                }
                Checkpoint::Wanted(_) | Checkpoint::Running => {}
            }
            state = self.wait(&self.work, state);
        }
    }

    /// Says that the writer thread has ended, so that the checkpoint thread does so, too.
    pub(super) fn end_writer(&self) {
        let mut state = self.lock();
        state.writer_ended = true;
        let log = state.take_log();
        drop(state);
        drop(log);
        self.checkpoint_work.notify_one();
    }

    /// What the checkpoint thread has to do next; `None` if its work is over.
    pub(super) fn next_checkpoint(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            match std::mem::replace(&mut state.checkpoint, Checkpoint::Running) {
                Checkpoint::Wanted(_) if state.failure().is_some() => {
                    state.checkpoint = Checkpoint::Failed { may_be_written: false };
                    self.work.notify_one();
                    return None;
                }
                Checkpoint::Wanted(batch) => return Some(batch),
                other => state.checkpoint = other,
            }
            if state.writer_ended || state.failure().is_some() {
                return None;
            }
            state = self.wait(&self.checkpoint_work, state);
        }
    }

    pub(super) fn end_checkpoint(&self, snapshot: Snapshot, batch: &Batch) {
        let freed = self.lock().end_checkpoint(snapshot, batch);
        self.work.notify_one();
        drop(freed);
    }

    pub(super) fn fail_checkpoint(&self, error: WriteError) {
        let mut state = self.lock();
        state.checkpoint = Checkpoint::Failed { may_be_written: error.may_be_written };
        if self.stops_after_failure.kept() {
            self.fail_locked(&mut state, error.step, error.cause);
        }
        drop(state);
        self.work.notify_one();
    }

    /// Has the threads end once nothing is left to write.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.tell_writer(state);
    }

    fn want_checkpoint(&self, state: &mut State) {
        state.checkpoint = Checkpoint::Wanted(state.begin_checkpoint());
        self.checkpoint_work.notify_one();
    }

    fn wait<'a>(&'a self, woken: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // The lock is taken anew, so that a panic elsewhere is seen there.
        drop(woken.wait(state));
        self.lock()
    }

    /// Closes the store for good and says why. The first reason stays.
    pub(super) fn fail(&self, step: &'static str, cause: FailureCause) -> Arc<Failure> {
        self.fail_locked(&mut self.lock(), step, cause)
    }

    fn fail_locked(
        &self,
        state: &mut State,
        step: &'static str,
        cause: FailureCause,
    ) -> Arc<Failure> {
        if let Some(failure) = state.failure() {
            return Arc::clone(failure);
        }
        let failure = Arc::new(Failure { place: Arc::clone(&self.place), step, cause });
        tracing::error!(%failure, "the store has failed");
        state.fail(Arc::clone(&failure));
        self.room.close();
        // So that idle threads end, and let go of the files.
        self.work.notify_one();
        self.checkpoint_work.notify_one();
        failure
    }

    /// What a commit is told that waited for room when the store failed.
    fn closed(&self) -> StoreError {
        let state = self.lock();
        let failure = state.failure().expect("there is no room only after a failure");
        StoreError::Unavailable { cause: Arc::clone(failure) as _ }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // A panic in the middle of a change: what is in memory is not to be trusted.
            let mut state = poisoned.into_inner();
            let cause = FailureCause::Panic("a panic while the state was changed".into());
            self.fail_locked(&mut state, "change its state", cause);
            state
        })
    }
}

impl BeginFlush for Shared {
    /// A lone change is written here; what comes with others is left to the writer thread, so that
    /// this one can go on.
    fn begin_here(&self) {
        let mut state = self.lock();
        let may_write = state.failure().is_none() && state.log_has_room(state.frame_len());
        if may_write && state.has_lone_change() {
            let (generation, log) = state.begin_flush();
            drop(state);
            writer::flush(self, generation, log);
            // What was applied meanwhile, or is to be closed, waits for the log.
            self.tell_writer(self.lock());
        } else {
            self.tell_writer(state);
        }
    }

    fn begin_elsewhere(&self) {
        self.tell_writer(self.lock());
    }
}
