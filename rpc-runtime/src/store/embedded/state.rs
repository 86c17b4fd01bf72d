//! What the lock guards: everything applied, durable or not, and the rules for applying more.
//!
//! The newest state of anything is found by asking three places in turn: the *young* changes, the
//! *old* ones, which are on their way into the tree, and the snapshot of the tree. A checkpoint
//! that ends well replaces the last two in one step under the lock, so a reader never sees a gap
//! between them. Whether what was found is durable, its number tells.
//!
//! An answer that rests on something not yet durable carries the [`Flush`] that it must wait for.
//! A [`Applied::Conflict`] carries none: it shows nothing, and only makes the call run again.

use std::sync::Arc;

use super::checkpoint::{Batch, SessionChange};
use super::error::{Failure, FailureCause, RowError};
use super::frame::{self, Change};
use super::generation::{Generation, Lsn, Span};
use super::log::{Frame, Log};
use super::recent::Recent;
use super::results::Results;
use super::snapshot::Snapshot;
use super::young::{Document, Documents, Young};
use crate::id::{CallId, ClientId, Seq};
use crate::rule::{Rule, kept};
use crate::store::flush::{Flush, FlushError};
use crate::store::records::Records;
use crate::store::sessions::{Record, Session, Sessions, Settled, settle};
use crate::store::{CallRef, DocKey, Draft, Lent, Outcome, ReadVersion, Refusal, Version, Write};

/// How large a frame may have grown and be used again: more than a disk is given at once, mostly.
const MAX_SPARE: usize = 1 << 20;

/// Everything applied.
#[derive(Debug)]
pub(super) struct State {
    /// A change made here must be told to [`State::changed`] or [`State::closed`].
    pub(super) sessions: Sessions<Recorded>,
    /// Where changes become part of the log.
    active: Generation,
    /// What is being written to the log.
    flushing: Option<Span>,
    /// The log, unless somebody writes to it.
    log: Option<Log>,
    /// What was applied since the last checkpoint began.
    young: Young,
    /// The documents that a checkpoint is putting into the tree.
    old: Option<Arc<Documents>>,
    /// What is in the tree.
    snapshot: Arc<Snapshot>,
    pub(super) checkpoint: Checkpoint,
    /// Why the store answers no more.
    failure: Option<Arc<Failure>>,
    /// The room of a frame that was written, for the next generation but one.
    spare: Vec<u8>,
    results: Results,
    /// Whether the writer thread sleeps until there is work.
    pub(super) writer_idle: bool,
    /// Whether the writer thread is to end once nothing is left to write.
    pub(super) closing: bool,
    /// Whether the writer thread has ended.
    pub(super) writer_ended: bool,
}

/// What the checkpoint thread does.
#[derive(Debug)]
pub(super) enum Checkpoint {
    Idle,
    Wanted(Batch),
    Running,
    /// The store has failed; whether this checkpoint may be in the tree, whole.
    Failed {
        may_be_written: bool,
    },
}

/// What is kept of a session beside the rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    /// The records that are not in the tree yet.
    recent: Records<Recent>,
    /// The highest number with a record in the tree; 0 if there is none. A call above it need not
    /// be looked for there.
    pub(super) filed: Seq,
    /// The watermark in the tree.
    pub(super) filed_watermark: Seq,
    /// Whether it is among the changed sessions.
    changed: bool,
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
    Committed(Arc<Flush>),
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

impl State {
    pub(super) fn new(sessions: Sessions<Recorded>, snapshot: Snapshot) -> State {
        State {
            sessions,
            active: Generation::after(snapshot.last(), Vec::new()),
            flushing: None,
            log: None,
            young: Young::default(),
            old: None,
            snapshot: Arc::new(snapshot),
            checkpoint: Checkpoint::Idle,
            failure: None,
            spare: Vec::new(),
            results: Results::default(),
            writer_idle: false,
            closing: false,
            writer_ended: false,
        }
    }

    pub(super) fn failure(&self) -> Option<&Arc<Failure>> {
        self.failure.as_ref()
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The newest state of a document if it is not in the tree; a deletion is a state too.
    pub(super) fn recent(&self, key: &DocKey) -> Option<&Document> {
        let young = self.young.documents.get(key);
        young.or_else(|| self.old.as_ref().and_then(|old| old.get(key)))
    }

    /// What the rules say to a call.
    pub(super) fn judge(&self, call: &CallRef) -> Result<Verdict, FailureCause> {
        let session = match self.sessions.admit(call) {
            Ok(session) => session,
            Err(refusal) => return Ok(Verdict::Refused(refusal, self.flush_of_all())),
        };
        if let Some(recent) = session.kept.recent.get(call.id.seq) {
            let flush = self.flush_of(Version(recent.lsn.0));
            return Ok(self.settle(call, Some(&recent.record), flush));
        }
        if call.id.seq > session.kept.filed {
            return Ok(self.settle(call, None, None));
        }
        Ok(self.settle(call, self.snapshot.record(call.id)?.as_ref(), None))
    }

    /// Applies a commit, if its id is new and what it read still holds.
    ///
    /// The versions are compared with the lock held. That reads pages only where a checkpoint has
    /// ended since the run read, mostly those that the checkpoint has just written.
    ///
    /// `permits` is the room that it was given; the flush gives it back. What is to be freed is left
    /// in the draft, for when the lock is not held.
    pub(super) fn apply(
        &mut self,
        draft: &mut Draft<'_>,
        permits: usize,
    ) -> Result<Applied, FailureCause> {
        if let Some(applied) = self.apply_usual(draft, permits) {
            return Ok(applied);
        }
        match self.judge(draft.call)? {
            _ if !kept(Rule::CheckIdAtCommit) => {}
            Verdict::New => {}
            Verdict::Recorded(outcome, flush) => return Ok(Applied::Recorded(outcome, flush)),
            Verdict::Refused(refusal, flush) => return Ok(Applied::Refused(refusal, flush)),
        }
        match self.newest_read(draft.reads)? {
            None if kept(Rule::CompareReads) => Ok(Applied::Conflict),
            _ => Ok(self.commit(draft, permits)),
        }
    }

    /// Applies what most commits are: a new call's change of the one document that it has read, and that
    /// was written since the last checkpoint. It does what [`apply`](State::apply) would, and looks for
    /// the session and for the document once.
    fn apply_usual(&mut self, draft: &mut Draft<'_>, permits: usize) -> Option<Applied> {
        let Draft { call, reads, writes, result } = draft;
        let ([read], [write]) = (&reads[..], &writes[..]) else { return None };
        let session = self.sessions.admit_mut(call).ok()?;
        let may_be_known =
            call.id.seq <= session.kept.filed || session.kept.recent.get(call.id.seq).is_some();
        if may_be_known || !matches!(settle(call, None), Settled::New) || read.key != write.key {
            return None;
        }
        let document = self.young.documents.get_mut(&write.key)?;
        if !read.still_holds(document.present()) {
            return None;
        }
        self.active.permits += permits;
        frame::put_commit(&mut self.active.frame, call, *result, writes);
        let lsn = self.active.next();
        document.replace(Version(lsn.0), &mut writes[0].body);
        let recent = Recent::new(lsn, call.hash, *result, &mut self.results);
        record(session, &mut self.young.changed, call.id, call.watermark, recent);
        Some(Applied::Committed(Arc::clone(&self.active.span.flush)))
    }

    /// Compares what was read with what is there now.
    pub(super) fn check(&self, reads: &[ReadVersion]) -> Result<Reads, FailureCause> {
        Ok(match self.newest_read(reads)? {
            Some(newest) => Reads::Hold(self.flush_of(newest)),
            None => Reads::Changed,
        })
    }

    /// The newest change that the reads rest on, if all of them hold.
    fn newest_read(&self, reads: &[ReadVersion]) -> Result<Option<Version>, FailureCause> {
        let mut newest = Version(0);
        for read in reads {
            let current = match self.recent(&read.key) {
                Some(document) => {
                    newest = newest.max(document.version);
                    document.present()
                }
                // What was read in this very snapshot is still so: a change would be recent.
                None if self.snapshot.is_that_of(read) => continue,
                None => self.snapshot.version(&read.key)?,
            };
            if !read.still_holds(current) {
                return Ok(None);
            }
        }
        Ok(Some(newest))
    }

    /// The flush that makes what this version's commit wrote durable; `None` if it is.
    pub(super) fn flush_of(&self, version: Version) -> Option<Arc<Flush>> {
        let lsn = Lsn(version.0);
        let span = self.spans().find(|span| span.covers(lsn))?;
        Some(Arc::clone(&span.flush))
    }

    /// The flush after which everything applied so far is durable; `None` if it is.
    pub(super) fn flush_of_all(&self) -> Option<Arc<Flush>> {
        let span = self.spans().find(|span| !span.is_empty())?;
        Some(Arc::clone(&span.flush))
    }

    /// Has a session written down that was opened or changed.
    pub(super) fn changed(&mut self, client: ClientId) -> Arc<Flush> {
        self.active.next();
        if let Some(session) = self.sessions.get(client) {
            frame::put_session(&mut self.active.frame, client, session);
        }
        self.note_changed(client);
        Arc::clone(&self.active.span.flush)
    }

    /// Has a session written down that was closed.
    pub(super) fn closed(&mut self, client: ClientId) -> Arc<Flush> {
        self.active.next();
        frame::put_closed(&mut self.active.frame, client);
        self.young.closed.push(client);
        Arc::clone(&self.active.span.flush)
    }

    /// Whether there is something to write.
    pub(super) fn has_work(&self) -> bool {
        !self.active.span.is_empty()
    }

    /// How long the frame is that is to be written.
    pub(super) fn frame_len(&self) -> usize {
        self.active.frame.len()
    }

    /// Whether all that there is to write is one change.
    pub(super) fn has_lone_change(&self) -> bool {
        self.active.span.last.0 == self.active.span.after.0 + 1
    }

    /// Whether somebody writes to the log.
    pub(super) fn is_flushing(&self) -> bool {
        self.flushing.is_some()
    }

    /// Whether a frame of this length has room in the log, which nobody writes to.
    pub(super) fn log_has_room(&self, length: usize) -> bool {
        self.log.as_ref().is_some_and(|log| log.has_room(length))
    }

    /// Gives it the log to write to.
    pub(super) fn set_log(&mut self, log: Log) {
        self.log = Some(log);
    }

    /// Takes the log for good: nothing is written any more.
    pub(super) fn take_log(&mut self) -> Option<Log> {
        self.log.take()
    }

    /// Takes all that there is to write, and the log. From here to [`State::end_flush`] it is
    /// flushing.
    pub(super) fn begin_flush(&mut self) -> (Generation, Log) {
        let log = self.log.take().expect("nobody writes to the log");
        let spare = std::mem::take(&mut self.spare);
        let next = Generation::after(self.active.span.last, spare);
        let generation = std::mem::replace(&mut self.active, next);
        self.flushing = Some(generation.span.clone());
        (generation, log)
    }

    /// What was flushing is durable; its frame is of no more use.
    pub(super) fn end_flush(&mut self, frame: Vec<u8>, log: Log) {
        self.flushing = None;
        self.log = Some(log);
        if frame.capacity() <= MAX_SPARE {
            self.spare = frame;
        }
    }

    /// Whether everything that is taken from the active generation is in the tree.
    pub(super) fn is_in_tree(&self) -> bool {
        self.snapshot.last() == self.active.span.after
    }

    /// Takes all that is not in the tree, for a checkpoint. None may be on its way, and nothing be
    /// active.
    pub(super) fn begin_checkpoint(&mut self) -> Batch {
        let young = std::mem::take(&mut self.young);
        let mut sessions = Vec::with_capacity(young.changed.len() + young.closed.len());
        for client in young.changed {
            // One that was closed since is among the closed ones.
            let Some(session) = self.sessions.get_mut(client) else { continue };
            sessions.push((client, SessionChange::of(session)));
            session.kept.changed = false;
            session.kept.filed_watermark = session.watermark;
        }
        sessions.extend(young.closed.into_iter().map(|client| (client, SessionChange::Closed)));
        let documents = Arc::new(young.documents);
        self.old = Some(Arc::clone(&documents));
        Batch {
            documents,
            sessions,
            next_client: self.sessions.next_client(),
            last: self.active.span.after,
        }
    }

    /// The tree holds all of the batch, as the snapshot shows. Gives back what is to be freed
    /// without the lock.
    #[must_use]
    pub(super) fn end_checkpoint(
        &mut self,
        snapshot: Snapshot,
        batch: &Batch,
    ) -> (Option<Arc<Documents>>, Arc<Snapshot>) {
        for (client, change) in &batch.sessions {
            let SessionChange::Changed { records, .. } = change else { continue };
            let Some(session) = self.sessions.get_mut(*client) else { continue };
            session.kept.recent.retain(|recent| recent.lsn > batch.last);
            if let Some((newest, _)) = records.last() {
                session.kept.filed = session.kept.filed.max(*newest);
            }
        }
        self.checkpoint = Checkpoint::Idle;
        let before = std::mem::replace(&mut self.snapshot, Arc::new(snapshot));
        (self.old.take(), before)
    }

    /// Applies what was found in the log.
    pub(super) fn replay(&mut self, found: Frame) -> Result<(), RowError> {
        for change in frame::changes(found.changes)? {
            let lsn = self.active.next();
            match change {
                Change::Commit { id, watermark, record, mut writes } => {
                    let Record { hash, outcome } = record;
                    let recent = Recent::new(lsn, hash, Lent::Whole(&outcome), &mut self.results);
                    self.insert(id, watermark, recent, &mut writes);
                }
                Change::Session(client, mut session) => {
                    if let Some(known) = self.sessions.get_mut(client) {
                        session.kept = std::mem::take(&mut known.kept);
                    }
                    self.sessions.restore(client, session);
                    if kept(Rule::NeverReuseClientIds) {
                        self.sessions.given_out(client);
                    }
                    self.note_changed(client);
                }
                Change::Closed(client) => {
                    self.sessions.remove(client);
                    self.young.closed.push(client);
                }
            }
        }
        match self.active.span.last == found.head.last {
            true => Ok(()),
            false => Err(RowError { table: "log" }),
        }
    }

    /// What was found in the log is durable, and is not written again.
    pub(super) fn replayed(&mut self) {
        self.active = Generation::after(self.active.span.last, Vec::new());
    }

    /// Closes the store for good: what the active generation holds will not be written. Of what is
    /// flushing, who writes it says what became of it.
    pub(super) fn fail(&mut self, failure: Arc<Failure>) {
        self.active.span.flush.finish(Err(FlushError::NotWritten(Arc::clone(&failure) as _)));
        self.failure.get_or_insert(failure);
    }

    /// What is not durable, newest first.
    fn spans(&self) -> impl Iterator<Item = &Span> {
        std::iter::once(&self.active.span).chain(self.flushing.as_ref())
    }

    fn settle(
        &self,
        call: &CallRef,
        record: Option<&Record>,
        flush: Option<Arc<Flush>>,
    ) -> Verdict {
        match settle(call, record) {
            Settled::New => Verdict::New,
            Settled::Recorded(outcome) => Verdict::Recorded(outcome.clone(), flush),
            Settled::Refused(refusal) => Verdict::Refused(refusal, self.flush_of_all()),
        }
    }

    /// Applies a commit that has passed every check.
    fn commit(&mut self, draft: &mut Draft<'_>, permits: usize) -> Applied {
        let Draft { call, writes, result, .. } = draft;
        if !kept(Rule::AllLegs) {
            writes.truncate(1);
        }
        self.active.permits += permits;
        frame::put_commit(&mut self.active.frame, call, *result, writes);
        let lsn = self.active.next();
        let recent = Recent::new(lsn, call.hash, *result, &mut self.results);
        self.insert(call.id, call.watermark, recent, writes);
        Applied::Committed(Arc::clone(&self.active.span.flush))
    }

    fn note_changed(&mut self, client: ClientId) {
        if let Some(session) = self.sessions.get_mut(client) {
            note_changed(session, &mut self.young.changed, client);
        }
    }

    /// Takes over what was written, and leaves there what was before.
    fn insert(&mut self, id: CallId, watermark: Seq, recent: Recent, writes: &mut [Write]) {
        let version = Version(recent.lsn.0);
        for write in writes {
            self.young.put(version, write);
        }
        if let Some(session) = self.sessions.get_mut(id.client) {
            record(session, &mut self.young.changed, id, watermark, recent);
        }
    }
}

/// Has a session's row written.
fn note_changed(session: &mut Session<Recorded>, changed: &mut Vec<ClientId>, client: ClientId) {
    if !session.kept.changed {
        session.kept.changed = true;
        changed.push(client);
    }
}

/// Keeps a call's record, and what the call acknowledges.
fn record(
    session: &mut Session<Recorded>,
    changed: &mut Vec<ClientId>,
    id: CallId,
    watermark: Seq,
    recent: Recent,
) {
    session.kept.recent.insert(id.seq, recent);
    if session.acknowledge(watermark) {
        session.kept.recent.forget_below(session.watermark);
    }
    note_changed(session, changed, id.client);
}

impl Recorded {
    /// The records that are not in the tree, by ascending number.
    pub(super) fn recent(&self) -> impl Iterator<Item = (Seq, &Recent)> {
        self.recent.iter().map(|(seq, recent)| (*seq, recent))
    }
}
