//! What the lock guards: everything applied, durable or not, and the rules for applying more.
//!
//! The newest state of anything is found by asking three places in turn: the active generation,
//! the flushing one, the snapshot. A flush that ends well replaces the last two in one step under
//! the lock, so a reader never sees a gap between them.
//!
//! An answer that rests on something not yet durable carries the [`Flush`] that it must wait for.
//! A [`Applied::Conflict`] carries none: it shows nothing, and only makes the call run again.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Failure, FailureCause, FlushError};
use super::generation::{Flush, Generation, Lsn};
use super::snapshot::Snapshot;
use crate::id::{ClientId, Seq};
use crate::rule::{Rule, kept};
use crate::store::sessions::{Record, Session, Sessions, Settled, settle};
use crate::store::{CallRef, Commit, DocKey, Outcome, ReadVersion, Refusal, Version, Versioned};

/// Everything applied.
#[derive(Debug)]
pub(super) struct State {
    /// A change made here must be told to [`State::changed`] or [`State::closed`].
    pub(super) sessions: Sessions<Recorded>,
    /// Where changes are applied.
    active: Generation,
    /// What the writer thread is writing.
    flushing: Option<Arc<Generation>>,
    /// What is durable.
    snapshot: Arc<Snapshot>,
    /// Why the store answers no more.
    failure: Option<Arc<Failure>>,
    /// Whether the writer thread sleeps until there is work.
    pub(super) writer_idle: bool,
    /// Whether the writer thread is to end once nothing is left to write.
    pub(super) closing: bool,
}

/// What is kept of a session beside the rules: the highest `Seq` with a record. A call above it is
/// new, and its record need not be looked for in the file; calls mostly come in that order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub(super) up_to: Seq,
}

impl Default for Recorded {
    fn default() -> Recorded {
        Recorded { up_to: Seq(0) }
    }
}

/// What the rules say to a call.
#[derive(Debug)]
pub(super) enum Verdict {
    New,
    Recorded(Outcome, Option<Arc<Flush>>),
    Refused(Refusal, Option<Arc<Flush>>),
}

/// What became of a commit.
#[derive(Debug)]
pub(super) enum Applied {
    Committed(Outcome, Arc<Flush>),
    Recorded(Outcome, Option<Arc<Flush>>),
    Conflict,
    Refused(Refusal, Option<Arc<Flush>>),
}

/// What the comparison of reads with the present found.
#[derive(Debug)]
pub(super) enum Reads {
    /// All of them hold, now; the newest of what they rest on waits for this flush.
    Hold(Option<Arc<Flush>>),
    Changed,
}

/// The rows of one flush: the generation, and what became of the sessions that it changed.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) generation: Arc<Generation>,
    pub(super) sessions: HashMap<ClientId, SessionChange>,
    pub(super) next_client: ClientId,
}

/// What becomes of the rows of one session.
#[derive(Debug)]
pub(super) enum SessionChange {
    /// Its row and all its records go.
    Closed,
    /// Its row is written anew, and its records from `trim_from` up to below its watermark go.
    Changed { session: Session<Recorded>, trim_from: Seq },
}

impl State {
    pub(super) fn new(sessions: Sessions<Recorded>, last: Lsn, snapshot: Snapshot) -> State {
        State {
            sessions,
            active: Generation::after(last),
            flushing: None,
            snapshot: Arc::new(snapshot),
            failure: None,
            writer_idle: false,
            closing: false,
        }
    }

    pub(super) fn failure(&self) -> Option<&Arc<Failure>> {
        self.failure.as_ref()
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The newest state of a document if it is not durable yet; a deletion is a state too.
    pub(super) fn undurable(&self, key: &DocKey) -> Option<&Versioned> {
        self.generations().find_map(|generation| generation.documents.get(key))
    }

    /// What the rules say to a call.
    pub(super) fn judge(&self, call: &CallRef) -> Result<Verdict, FailureCause> {
        let session = match self.sessions.admit(call) {
            Ok(session) => session,
            Err(refusal) => return Ok(Verdict::Refused(refusal, self.flush_of_all())),
        };
        if call.id.seq > session.kept.up_to {
            return Ok(self.settle(call, None, None));
        }
        for generation in self.generations() {
            if let Some(record) = generation.records.get(&call.id) {
                return Ok(self.settle(call, Some(record), Some(&generation.flush)));
            }
        }
        Ok(self.settle(call, self.snapshot.record(call.id)?.as_ref(), None))
    }

    /// Applies a commit, if its id is new and what it read still holds.
    ///
    /// The versions are compared with the lock held, though that may read pages: the run has just
    /// read the same ones, so they are in the cache.
    ///
    /// `permits` is the room that it was given; the flush gives it back.
    pub(super) fn apply(
        &mut self,
        commit: Commit,
        permits: usize,
    ) -> Result<Applied, FailureCause> {
        match self.judge(&commit.call)? {
            _ if !kept(Rule::CheckIdAtCommit) => {}
            Verdict::New => {}
            Verdict::Recorded(outcome, flush) => return Ok(Applied::Recorded(outcome, flush)),
            Verdict::Refused(refusal, flush) => return Ok(Applied::Refused(refusal, flush)),
        }
        match self.check(&commit.reads)? {
            Reads::Changed if kept(Rule::CompareReads) => Ok(Applied::Conflict),
            Reads::Changed | Reads::Hold(_) => Ok(self.insert(commit, permits)),
        }
    }

    /// Compares what was read with what is there now.
    pub(super) fn check(&self, reads: &[ReadVersion]) -> Result<Reads, FailureCause> {
        let mut newest = Version(0);
        for read in reads {
            let current = match self.undurable(&read.key) {
                Some(document) => {
                    newest = newest.max(document.version);
                    document.body.as_ref().map(|_| document.version)
                }
                None => self.snapshot.version(&read.key)?,
            };
            if !read.still_holds(current) {
                return Ok(Reads::Changed);
            }
        }
        Ok(Reads::Hold(self.flush_of(newest)))
    }

    /// The flush that makes what this version's commit wrote durable; `None` if it is.
    pub(super) fn flush_of(&self, version: Version) -> Option<Arc<Flush>> {
        let lsn = Lsn(version.0);
        let generation = self.generations().find(|generation| generation.covers(lsn))?;
        Some(Arc::clone(&generation.flush))
    }

    /// The flush after which everything applied so far is durable; `None` if it is.
    pub(super) fn flush_of_all(&self) -> Option<Arc<Flush>> {
        let generation = self.generations().find(|generation| !generation.is_empty())?;
        Some(Arc::clone(&generation.flush))
    }

    /// Has the row of a session written that was opened or changed. Its watermark was `before`.
    pub(super) fn changed(&mut self, client: ClientId, before: Seq) -> Arc<Flush> {
        self.active.sessions.entry(client).or_insert(before);
        Arc::clone(&self.active.flush)
    }

    /// Has the rows of a closed session removed.
    pub(super) fn closed(&mut self, client: ClientId) -> Arc<Flush> {
        self.changed(client, Seq(0))
    }

    /// Whether there is something to write.
    pub(super) fn has_work(&self) -> bool {
        !self.active.is_empty()
    }

    /// Takes all that there is to write. From here to [`State::end_flush`] it is flushing.
    pub(super) fn begin_flush(&mut self) -> Batch {
        let next = Generation::after(self.active.last);
        let generation = Arc::new(std::mem::replace(&mut self.active, next));
        self.flushing = Some(Arc::clone(&generation));
        let sessions = generation.sessions.iter().map(|(client, trim_from)| {
            let change = match self.sessions.get(*client) {
                Some(session) => {
                    SessionChange::Changed { session: session.clone(), trim_from: *trim_from }
                }
                None => SessionChange::Closed,
            };
            (*client, change)
        });
        Batch { sessions: sessions.collect(), next_client: self.sessions.next_client(), generation }
    }

    /// What was flushing is durable, and is what `snapshot` shows.
    pub(super) fn end_flush(&mut self, snapshot: Snapshot) {
        self.snapshot = Arc::new(snapshot);
        self.flushing = None;
    }

    /// Closes the store for good: what the active generation holds will not be written. Of what is
    /// flushing the writer thread says what became of it.
    pub(super) fn fail(&mut self, failure: Arc<Failure>) {
        self.active.flush.finish(Err(FlushError::NotWritten(Arc::clone(&failure))));
        self.failure.get_or_insert(failure);
    }

    /// The two places before the snapshot, newest first.
    fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.active).chain(self.flushing.as_deref())
    }

    fn settle(
        &self,
        call: &CallRef,
        record: Option<&Record>,
        flush: Option<&Arc<Flush>>,
    ) -> Verdict {
        match settle(call, record) {
            Settled::New => Verdict::New,
            Settled::Recorded(outcome) => Verdict::Recorded(outcome.clone(), flush.cloned()),
            Settled::Refused(refusal) => Verdict::Refused(refusal, self.flush_of_all()),
        }
    }

    /// Applies a commit that has passed every check.
    fn insert(&mut self, commit: Commit, permits: usize) -> Applied {
        let Commit { call, writes, result, .. } = commit;
        let lsn = Lsn(self.active.last.0 + 1);
        self.active.last = lsn;
        self.active.permits += permits;
        let legs = if kept(Rule::AllLegs) { writes.len() } else { 1 };
        for write in writes.into_iter().take(legs) {
            let document = Versioned::new(Version(lsn.0), write.body);
            self.active.documents.insert(write.key, document);
        }
        let record = Record { hash: call.hash, outcome: result.clone() };
        self.active.records.insert(call.id, record);
        let session = self.sessions.get_mut(call.id.client).expect("the call was admitted");
        session.kept.up_to = session.kept.up_to.max(call.id.seq);
        let before = session.watermark;
        if session.acknowledge(call.watermark) {
            self.changed(call.id.client, before);
        }
        Applied::Committed(result, Arc::clone(&self.active.flush))
    }
}
