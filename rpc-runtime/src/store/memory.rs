//! [`MemoryStore`]: the rules of the store, and nothing to keep them over a restart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::records::Records;
use super::sessions::{Record, Session, Sessions, Settled, settle};
use super::{
    AtHand, CallRef, Commit, CommitOutcome, Committed, Confirm, DocKey, Draft, Drafted, Encoded,
    HashMap, Lease, Lent, LookUp, Outcome, ReadVersion, Resume, Store, StoreError, StoreFuture,
    Version, Versioned, Write, limits, sealed,
};
use crate::id::{ClientId, Identity, SessionId, SessionSecret};
use crate::rule::{Rule, kept};
use crate::time::WallTime;

/// A store in memory: for tests, and for state that may be lost with the process.
///
/// All servers that share one (in an `Arc`) keep every guarantee but durability. It answers every
/// question at once, without waiting and without an allocation for the answer.
///
/// ```
/// use std::sync::Arc;
/// use rpc::store::{MemoryStore, Store};
///
/// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store that keeps at most [`limits::DEFAULT_MAX_SESSIONS`] sessions open.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::with_max_sessions(limits::DEFAULT_MAX_SESSIONS)
    }

    /// An empty store that keeps at most this many sessions open.
    #[must_use]
    pub fn with_max_sessions(max_sessions: usize) -> MemoryStore {
        let state = State {
            sessions: Sessions::new(ClientId(1), max_sessions),
            documents: HashMap::default(),
            last: 0,
        };
        MemoryStore { state: Mutex::new(state) }
    }

    // Nothing in a critical section can panic half-way through a change, so what a poisoned lock
    // guards is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl sealed::Sealed for MemoryStore {}

impl Store for MemoryStore {
    fn read<'a>(&'a self, key: &'a DocKey) -> StoreFuture<'a, Result<Versioned, StoreError>> {
        StoreFuture::ready(Ok(match self.lock().documents.get(key) {
            Some((version, body)) => Versioned::new(*version, Some(body.clone())),
            None => Versioned::new(Version(0), None),
        }))
    }

    fn read_at_hand(
        &self,
        key: &DocKey,
        body: &mut Option<Encoded>,
    ) -> Option<Result<AtHand, StoreError>> {
        let state = self.lock();
        let Some((version, known)) = state.documents.get(key) else {
            *body = None;
            return Some(Ok(AtHand::of(Version(0))));
        };
        body.get_or_insert_default().copy_from(known);
        Some(Ok(AtHand::of(*version)))
    }

    fn confirm<'a>(
        &'a self,
        reads: &'a [ReadVersion],
    ) -> StoreFuture<'a, Result<Confirm, StoreError>> {
        let consistent = reads.len() < 2 || all_hold(&self.lock().documents, reads);
        StoreFuture::ready(Ok(if consistent { Confirm::Consistent } else { Confirm::Changed }))
    }

    fn look_up<'a>(&'a self, call: &'a CallRef) -> StoreFuture<'a, Result<LookUp, StoreError>> {
        StoreFuture::ready(Ok(self.lock().look_up(call)))
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, Result<CommitOutcome, StoreError>> {
        match limits::check(&commit) {
            Ok(()) => commit.lend(|draft| self.commit_draft(draft).whole()),
            Err(error) => StoreFuture::ready(Err(error)),
        }
    }

    fn commit_draft<'draft>(&self, mut draft: Draft<'draft>) -> Drafted<'_, 'draft> {
        if let Err(error) = limits::check_draft(&draft) {
            return Drafted::Otherwise(StoreFuture::ready(Err(error)));
        }
        match self.lock().commit(&mut draft) {
            None => Drafted::Committed(Committed::new(draft.result)),
            Some(otherwise) => Drafted::Otherwise(StoreFuture::ready(Ok(otherwise))),
        }
    }

    fn uses_anchors(&self) -> bool {
        false
    }

    fn open_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        lease: Lease,
    ) -> StoreFuture<'a, Result<SessionId, StoreError>> {
        let opened = self.lock().sessions.open(identity, secret, lease);
        let opened = opened.map_err(|full| StoreError::Unavailable { cause: Arc::new(full) });
        StoreFuture::ready(opened)
    }

    fn resume_session<'a>(
        &'a self,
        identity: &'a Identity,
        secret: SessionSecret,
        session: SessionId,
        lease: Lease,
    ) -> StoreFuture<'a, Result<Resume, StoreError>> {
        StoreFuture::ready(Ok(self.lock().sessions.resume(identity, secret, session, lease)))
    }

    fn renew_session(
        &self,
        client: ClientId,
        lease: Lease,
    ) -> StoreFuture<'_, Result<(), StoreError>> {
        self.lock().sessions.renew(client, lease);
        StoreFuture::ready(Ok(()))
    }

    fn close_session(&self, session: SessionId) -> StoreFuture<'_, Result<(), StoreError>> {
        let closed = self.lock().sessions.close(session);
        // Freed outside the lock.
        drop(closed);
        StoreFuture::ready(Ok(()))
    }

    fn expire_sessions(&self, now: WallTime) -> StoreFuture<'_, Result<usize, StoreError>> {
        let expired = self.lock().sessions.expire(now);
        StoreFuture::ready(Ok(expired.len()))
    }
}

type Documents = HashMap<DocKey, (Version, Encoded)>;

#[derive(Debug)]
struct State {
    sessions: Sessions<Records>,
    documents: Documents,
    /// The number of the last commit, which is the version of what it wrote.
    last: u64,
}

impl State {
    fn look_up(&self, call: &CallRef) -> LookUp {
        let session = match self.sessions.admit(call) {
            Ok(session) => session,
            Err(refusal) => return LookUp::Refused(refusal),
        };
        match settle(call, session.kept.get(call.id.seq)) {
            Settled::New => LookUp::Unknown,
            Settled::Recorded(outcome) => LookUp::Recorded(Committed::new(outcome.clone())),
            Settled::Refused(refusal) => LookUp::Refused(refusal),
        }
    }

    /// Applies the draft and records its result; what became of it otherwise.
    fn commit(&mut self, draft: &mut Draft<'_>) -> Option<CommitOutcome> {
        let Draft { call, reads, writes, result } = draft;
        let State { sessions, documents, last } = self;
        let checks = kept(Rule::CheckIdAtCommit);
        let session = match sessions.admit_mut(call) {
            Ok(session) => match settle(call, session.kept.get(call.id.seq)) {
                Settled::Recorded(outcome) if checks => {
                    return Some(CommitOutcome::Recorded(Committed::new(outcome.clone())));
                }
                Settled::Refused(refusal) if checks => {
                    return Some(CommitOutcome::Refused(refusal));
                }
                _ => Some(session),
            },
            Err(refusal) if checks => return Some(CommitOutcome::Refused(refusal)),
            Err(_) => sessions.get_mut(call.id.client),
        };
        let version = Version(*last + 1);
        if !replace_one(documents, reads, writes, version) {
            if !all_hold(documents, reads) && kept(Rule::CompareReads) {
                return Some(CommitOutcome::Conflict);
            }
            let legs = if kept(Rule::AllLegs) { writes.len() } else { 1 };
            for write in writes.drain(..).take(legs) {
                match write.body {
                    Some(body) => documents.insert(write.key, (version, body)),
                    None => documents.remove(&write.key),
                };
            }
        }
        *last = version.0;
        if let Some(session) = session {
            record(session, call, *result);
        }
        None
    }
}

/// Applies what most commits are, a new body for the one document that was read, with one search for
/// it. Says whether it was that, and what was read has held.
fn replace_one(
    documents: &mut Documents,
    reads: &[ReadVersion],
    writes: &mut [Write],
    version: Version,
) -> bool {
    let ([read], [Write { key, body: Some(body) }]) = (reads, writes) else { return false };
    if read.key != *key {
        return false;
    }
    match documents.get_mut(key) {
        Some(document) if read.still_holds(Some(document.0)) => {
            document.0 = version;
            document.1.take_from(body);
            true
        }
        _ => false,
    }
}

fn all_hold(documents: &Documents, reads: &[ReadVersion]) -> bool {
    reads.iter().all(|read| read.still_holds(documents.get(&read.key).map(|(version, _)| *version)))
}

/// What a record is made with.
const NOTHING: Outcome = Outcome::Success(Encoded::empty());

fn record(session: &mut Session<Records>, call: &CallRef, result: Lent<'_>) {
    if !kept(Rule::KeepRecordsUntilAcked) {
        session.kept = Records::default();
    }
    let kept = session.kept.insert(call.id.seq, Record { hash: call.hash, outcome: NOTHING });
    match (result, &mut kept.outcome) {
        // Filled where it lies.
        (Lent::Brief(value), Outcome::Success(kept)) => kept.fill(value),
        _ => kept.outcome = result.to_outcome(),
    }
    if session.acknowledge(call.watermark) {
        session.kept.forget_below(session.watermark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ArgumentHash, Attempt, CallId, Seq};

    #[test]
    fn records_go_with_their_acknowledgement_and_with_their_session() {
        let mut state = MemoryStore::new().state.into_inner().unwrap();
        let lease = Lease { until: WallTime(0) };
        let secret = SessionSecret([0; 16]);
        let session = state.sessions.open(&Identity::anonymous(), secret, lease).unwrap();
        for (seq, watermark, kept) in [(1, 1, 1), (2, 1, 2), (3, 3, 1), (9, 3, 2), (10, 10, 1)] {
            let call = CallRef {
                id: CallId { client: session.client, seq: Seq(seq) },
                incarnation: session.incarnation,
                attempt: Attempt::FIRST,
                born: WallTime(0),
                hash: ArgumentHash(seq),
                anchor: None,
                watermark: Seq(watermark),
            };
            let (reads, writes) = (&mut Vec::new(), &mut Vec::new());
            let mut draft = Draft { call: &call, reads, writes, result: Lent::Brief(b"result") };
            assert_eq!(state.commit(&mut draft), None, "it is committed");
            let known = Committed::new(Outcome::Success(b"result".into()));
            assert_eq!(state.look_up(&call), LookUp::Recorded(known));
            let records = &state.sessions.get_mut(session.client).unwrap().kept;
            assert_eq!(records.len(), kept, "after call {seq}");
        }
        state.sessions.close(session);
        assert!(state.sessions.get_mut(session.client).is_none());
    }
}
