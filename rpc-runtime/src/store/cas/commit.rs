//! One run of a call: stage, commit point, what follows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::conflict::{Claim, Clear};
use super::load::{EMPTY_BODY, Loaded, Written};
use super::meta::{Blob, Change, ClientEntry, Meta, Record, RecordedOutcome, Stage, Token};
use super::{Cas, CasBackend, Inner, anchor_key};
use crate::id::Incarnation;
use crate::rule::{Rule, kept};
use crate::store::{
    CallRef, Commit, CommitOutcome, Committed, Confirm, DocKey, LookUp, Outcome, ReadVersion,
    Refusal, StoreError, Version, limits,
};

/// A stage that this run has placed: the document with it.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) key: DocKey,
    pub(super) loaded: Loaded,
}

/// Why a document could not be staged.
enum NotStaged {
    /// It has changed since it was read.
    Changed,
    /// Another run has a stage on it.
    Occupied(DocKey, Box<Loaded>),
    Store(StoreError),
}

/// One run of one call.
struct Run<'a, B> {
    store: &'a Arc<Inner<B>>,
    call: &'a CallRef,
    claim: Claim,
    anchor_key: DocKey,
    /// The anchor, read before the first stage. Its CAS is never refreshed within a run: whoever
    /// stalls after reading it loses to whatever happened meanwhile.
    anchor: Loaded,
    token: Token,
}

/// How a run has ended.
struct Ending {
    outcome: CommitOutcome,
    /// Its stages, if they have won: they are still to become bodies.
    won: Vec<Staged>,
}

impl<B: CasBackend> Inner<B> {
    pub(super) async fn commit(
        self: Arc<Self>,
        commit: Commit,
    ) -> Result<CommitOutcome, StoreError> {
        limits::check(&commit)?;
        check_limits(&commit)?;
        loop {
            let outcome = self.commit_once(&commit).await?;
            // What was not read cannot have changed: the same run can go again.
            if outcome != CommitOutcome::Conflict || !commit.reads.is_empty() {
                return Ok(outcome);
            }
        }
    }

    async fn commit_once(self: &Arc<Self>, commit: &Commit) -> Result<CommitOutcome, StoreError> {
        if let Err(refusal) = self.check_session(&commit.call).await? {
            return Ok(CommitOutcome::Refused(refusal));
        }
        let key = anchor_key(&commit.call);
        let claim = Claim::of(&commit.call, &key);
        let seen = commit.reads.iter().find(|read| read.key == key).and_then(ReadVersion::memo);
        let seen = seen.filter(|_| kept(Rule::CompareReads));
        if let Some(known) = seen.as_deref().and_then(|seen| known_end(seen, &commit.call)) {
            return Ok(known);
        }
        let turn = self.turns.enter(&claim, documents(commit, &key));
        if turn.wait().await && !commit.reads.is_empty() {
            turn.keep(&claim, self.meetings.losses(commit.call.id));
            return Ok(CommitOutcome::Conflict);
        }
        if self.let_older_go_first(commit, &claim).await {
            turn.keep(&claim, self.meetings.losses(commit.call.id));
            return Ok(CommitOutcome::Conflict);
        }
        let anchor = match seen {
            Some(seen) => Loaded::clone(&seen),
            None => self.load_effective(&key).await?,
        };
        let run = Run {
            store: self,
            call: &commit.call,
            claim: claim.clone(),
            anchor_key: key.clone(),
            anchor,
            token: self.token_of(&commit.call),
        };
        let Ending { outcome, won } = run.run(commit).await?;
        if outcome == CommitOutcome::Conflict {
            let losses = self.meetings.pause(self, commit.call.id).await;
            turn.keep(&claim, losses);
            return Ok(outcome);
        }
        self.meetings.forget(commit.call.id);
        if !won.is_empty() {
            let rest = turn.end_on(&key);
            tokio::spawn(Arc::clone(self).unstage(key, commit.call.id, won, rest));
        }
        Ok(outcome)
    }

    /// The name of a run.
    fn token_of(&self, call: &CallRef) -> Token {
        if !kept(Rule::TokenPerRun) {
            return Token(call.id.client.0, call.id.seq.0);
        }
        if !kept(Rule::AbortedWithoutToken) {
            // An aborted record can only carry a token that it can tell: one of its attempt.
            return Token(call.id.client.0, call.id.seq.0 << 16 | u64::from(call.attempt.0));
        }
        self.new_token()
    }

    /// Waits for older calls that want what this run has read. Returns whether it has waited: then
    /// what was read is old.
    async fn let_older_go_first(&self, commit: &Commit, claim: &Claim) -> bool {
        let mut has_waited = false;
        for read in &commit.reads {
            let Some(seen) = read.memo::<Loaded>() else { continue };
            if let Some(wish) = claim.wish_before(&seen.meta) {
                let anchor = DocKey::stored(&wish.anchor);
                has_waited |= self.wait_for(wish.call(), &anchor, claim).await;
            }
        }
        has_waited
    }
}

impl<B: CasBackend> Run<'_, B> {
    async fn run(&self, commit: &Commit) -> Result<Ending, StoreError> {
        if let Some(known) = known_end(&self.anchor, self.call) {
            return Ok(known.into());
        }
        if self.anchor.meta.stage.is_some() {
            self.store.make_way(&self.anchor_key, &self.anchor, &self.claim).await?;
            return Ok(CommitOutcome::Conflict.into());
        }
        if commit.writes.is_empty() {
            // Nothing that was read is changed, so nothing needs to be held in place: it is enough
            // that all of it was true at one moment.
            if self.store.confirm(&commit.reads).await? == Confirm::Changed {
                return Ok(CommitOutcome::Conflict.into());
            }
            let token = Some(self.token).filter(|_| !kept(Rule::AbortedWithoutToken));
            return self.write_anchor(commit, token, Vec::new()).await;
        }
        let staged = match self.stage_all(commit).await {
            Ok(staged) => staged,
            Err(NotStaged::Changed) => return Ok(CommitOutcome::Conflict.into()),
            Err(NotStaged::Occupied(key, loaded)) => {
                self.store.make_way(&key, &loaded, &self.claim).await?;
                return Ok(CommitOutcome::Conflict.into());
            }
            Err(NotStaged::Store(error)) => return Err(error),
        };
        self.write_anchor(commit, Some(self.token), staged).await
    }

    /// Stages every document but the anchor, all at once. Takes back what was staged if one of them
    /// cannot be.
    async fn stage_all(&self, commit: &Commit) -> Result<Vec<Staged>, NotStaged> {
        let written = commit.writes.iter().map(|write| {
            let change = match &write.body {
                Some(body) => Change::Put(Blob(body.clone())),
                None => Change::Delete,
            };
            (&write.key, change)
        });
        let only_read = commit
            .reads
            .iter()
            .filter(|read| commit.writes.iter().all(|write| write.key != read.key))
            .map(|read| (&read.key, Change::Guard));
        let written = written.filter(|_| kept(Rule::AllLegs));
        let only_read = only_read.filter(|_| kept(Rule::Guard));
        let others = written.chain(only_read).filter(|(key, _)| **key != self.anchor_key);
        let staging = others.map(|(key, change)| {
            let read = commit.reads.iter().find(|read| read.key == *key);
            self.stage(key.clone(), read, change)
        });
        let mut staged = Vec::new();
        let mut trouble = None;
        for result in join_all(staging).await {
            match result {
                Ok(stage) => staged.push(stage),
                // What the store says matters more than a conflict that a new run would clear up.
                Err(error @ NotStaged::Store(_)) => trouble = Some(error),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        match trouble {
            None => Ok(staged),
            Some(trouble) => {
                self.take_back(&staged).await;
                Err(trouble)
            }
        }
    }

    async fn stage(
        &self,
        key: DocKey,
        read: Option<&ReadVersion>,
        change: Change,
    ) -> Result<Staged, NotStaged> {
        let read = read.filter(|_| kept(Rule::CompareReads));
        let mut loaded = match read.and_then(ReadVersion::memo::<Loaded>) {
            Some(seen) => Loaded::clone(&seen),
            None => self.store.load_effective(&key).await.map_err(NotStaged::Store)?,
        };
        if let Some(read) = read {
            let version = (!loaded.meta.absent).then(|| Version(loaded.cas.map_or(0, |cas| cas.0)));
            if !read.still_holds(version) {
                return Err(NotStaged::Changed);
            }
        }
        if loaded.meta.stage.is_some() {
            return Err(NotStaged::Occupied(key, Box::new(loaded)));
        }
        let token = self.token;
        self.claim.fulfil(&mut loaded.meta);
        loaded.meta.stage = Some(Stage {
            anchor: self.anchor_key.as_str().to_owned(),
            anchor_cas: self.anchor.cas.map(|cas| cas.0),
            client: self.call.id.client.0,
            seq: self.call.id.seq.0,
            attempt: self.call.attempt.0,
            born: self.call.born.0,
            token,
            change,
        });
        let is_ours = |meta: &Meta| meta.stage.as_ref().is_some_and(|stage| stage.token == token);
        match self.store.write_stage(&key, loaded.cas, &loaded.meta, is_ours).await {
            Ok(Written::Done(cas)) => {
                loaded.cas = Some(cas);
                Ok(Staged { key, loaded })
            }
            Ok(Written::Lost) => Err(NotStaged::Changed),
            Err(error) => Err(NotStaged::Store(not_committed(error))),
        }
    }

    /// The commit point.
    async fn write_anchor(
        &self,
        commit: &Commit,
        token: Option<Token>,
        staged: Vec<Staged>,
    ) -> Result<Ending, StoreError> {
        if let Some(refusal) = self.is_too_late(&staged).await? {
            self.take_back(&staged).await;
            return Ok(CommitOutcome::Refused(refusal).into());
        }
        let refreshed;
        let anchor = if kept(Rule::AnchorReadOnce) {
            &self.anchor
        } else {
            refreshed = self.store.load(&self.anchor_key).await?;
            &refreshed
        };
        let (body, meta) = self.committed_anchor(anchor, commit, token, &staged);
        let id = self.call.id;
        let outcome = RecordedOutcome::of(&commit.result);
        let is_ours = |meta: &Meta| match token {
            Some(token) => meta.commits(id, token),
            // It names no run, so another attempt may have written it: it is as good as ours if it
            // says the same.
            None => meta.record(id).is_some_and(|found| {
                found.token.is_none() && found.to_do.is_empty() && found.outcome == outcome
            }),
        };
        let mut over = anchor.cas;
        if !kept(Rule::CommitOverWhatWasRead) {
            over = self.store.load(&self.anchor_key).await?.cas;
        }
        if !kept(Rule::RecordNotBefore) {
            over = self.write_half(over, None, &meta).await?;
        }
        if !kept(Rule::RecordNotAfter) {
            over = self.write_half(over, body.clone(), &anchor.meta).await?;
        }
        let written = self.store.write(&self.anchor_key, over, body, &meta, is_ours).await;
        match written {
            Ok(Written::Done(_)) => {
                self.store.tidy.forget_cleared(&self.anchor_key, &meta);
                self.store.consider_tidying(&self.anchor_key, &meta);
                let committed = Committed::new(commit.result.clone());
                Ok(Ending { outcome: CommitOutcome::Committed(committed), won: staged })
            }
            Ok(Written::Lost) => Ok(self.lost(staged).await?.into()),
            // The record may be there or not: the stages wait for whoever asks the anchor.
            Err(error @ StoreError::Unknown { .. }) => Err(error),
            Err(error) => {
                self.take_back(&staged).await;
                Err(error)
            }
        }
    }

    /// Writes the record or the effect alone, as a store would that does not write both at once.
    async fn write_half(
        &self,
        over: Option<Cas>,
        body: Option<Bytes>,
        meta: &Meta,
    ) -> Result<Option<Cas>, StoreError> {
        let written = self.store.write(&self.anchor_key, over, body, meta, |_| false).await?;
        Ok(match written {
            Written::Done(cas) => Some(cas),
            Written::Lost => over,
        })
    }

    /// Whether the session has ended since the run began. Looked at after the anchor was read:
    /// once the session is over, an anchor that has forgotten the call looks like one that never
    /// knew it.
    async fn is_too_late(&self, staged: &[Staged]) -> Result<Option<Refusal>, StoreError> {
        if !kept(Rule::RecheckSession) {
            return Ok(None);
        }
        match self.store.check_session(self.call).await {
            Ok(checked) => Ok(checked.err()),
            Err(error) => {
                self.take_back(staged).await;
                Err(error)
            }
        }
    }

    /// The anchor as it is when the call is committed.
    fn committed_anchor(
        &self,
        anchor: &Loaded,
        commit: &Commit,
        token: Option<Token>,
        staged: &[Staged],
    ) -> (Option<Bytes>, Meta) {
        let mut meta = anchor.meta.clone();
        meta.fence = None;
        self.claim.fulfil(&mut meta);
        self.store.tidy.apply(&self.anchor_key, &mut meta);
        let entry = meta.clients.entry(self.call.id.client.0).or_default();
        entry.incarnation = entry.incarnation.max(self.call.incarnation.0);
        entry.watermark = entry.watermark.max(self.call.watermark.0);
        let watermark = entry.watermark;
        // A record with a to-do list is what decides about stages that may still be there.
        entry.records.retain(|seq, record| *seq >= watermark || !record.to_do.is_empty());
        if !kept(Rule::KeepRecordsUntilAcked) {
            entry.records.clear();
        }
        let pinning = if kept(Rule::ClearToDoSeen) { staged } else { &[] };
        let record = Record {
            hash: self.call.hash.0,
            outcome: RecordedOutcome::of(&commit.result),
            token,
            to_do: pinning.iter().map(|stage| stage.key.as_str().to_owned()).collect(),
        };
        entry.records.insert(self.call.id.seq.0, record);
        let write = commit.writes.iter().find(|write| write.key == self.anchor_key);
        let body = write.map(|write| match &write.body {
            Some(body) => {
                meta.absent = false;
                body.clone().into()
            }
            None => {
                meta.absent = true;
                Bytes::from_static(EMPTY_BODY)
            }
        });
        (body, meta)
    }

    /// The anchor is in another state: somebody has won. If it was another run of this call, its
    /// result is this call's result.
    async fn lost(&self, staged: Vec<Staged>) -> Result<CommitOutcome, StoreError> {
        // Looked at first: a winner that has lost too takes its stages back as well.
        let now = self.store.load(&self.anchor_key).await.map_err(not_committed);
        let losses = self.store.meetings.losses(self.call.id);
        let enough = if staged.is_empty() { LOSSES_BEFORE_WISH } else { 0 };
        self.take_back(&staged).await;
        let now = now?;
        if let Some(known) = known_end(&now, self.call) {
            return Ok(known);
        }
        if losses >= enough {
            self.store.leave_wish(&self.anchor_key, &now, &self.claim).await;
        }
        self.store.wait_for_winner(&now, self.token, &self.claim).await;
        Ok(CommitOutcome::Conflict)
    }

    /// Removes the stages of a run that will not commit. What cannot be removed now, whoever meets
    /// it will.
    async fn take_back(&self, staged: &[Staged]) {
        let store = self.store;
        join_all(staged.iter().map(|stage| async move {
            if let Err(error) = store.clear_stage(&stage.key, &stage.loaded, Clear::Back).await {
                tracing::debug!(key = %stage.key, %error, "a lost stage stays for now");
            }
        }))
        .await;
    }
}

impl From<CommitOutcome> for Ending {
    fn from(outcome: CommitOutcome) -> Ending {
        Ending { outcome, won: Vec::new() }
    }
}

/// How a call has ended or why it never will, if its anchor knows.
fn known_end(anchor: &Loaded, call: &CallRef) -> Option<CommitOutcome> {
    if !kept(Rule::CheckIdAtCommit) {
        return None;
    }
    match look_for(&anchor.meta, call) {
        LookUp::Unknown => None,
        LookUp::Recorded(outcome) => Some(CommitOutcome::Recorded(outcome)),
        LookUp::Refused(refusal) => Some(CommitOutcome::Refused(refusal)),
    }
}

/// All documents of a commit.
fn documents(commit: &Commit, anchor: &DocKey) -> Vec<DocKey> {
    let written = commit.writes.iter().map(|write| &write.key);
    let read = commit.reads.iter().map(|read| &read.key);
    written.chain(read).chain([anchor]).cloned().collect()
}

/// What metadata can hold: less than what a body can.
fn check_limits(commit: &Commit) -> Result<(), StoreError> {
    let anchor = anchor_key(&commit.call);
    for write in commit.writes.iter().filter(|write| write.key != anchor) {
        let size = write.body.as_ref().map_or(0, |body| body.len());
        if size > MAX_STAGED_BYTES {
            let what = format!("document {} (written beside its call's anchor)", write.key);
            return Err(StoreError::TooLarge { what, size, limit: MAX_STAGED_BYTES });
        }
    }
    match &commit.result {
        Outcome::Success(bytes) | Outcome::BusinessError(bytes)
            if bytes.len() > MAX_RECORDED_BYTES =>
        {
            let what = "the result of the call".to_owned();
            Err(StoreError::TooLarge { what, size: bytes.len(), limit: MAX_RECORDED_BYTES })
        }
        _ => Ok(()),
    }
}

/// What an anchor says of a call.
pub(super) fn look_for(anchor: &Meta, call: &CallRef) -> LookUp {
    let none = ClientEntry::default();
    let entry = anchor.clients.get(&call.id.client.0).unwrap_or(&none);
    if let Some(record) = entry.records.get(&call.id.seq.0) {
        if record.hash != call.hash.0 && kept(Rule::CompareHash) {
            return LookUp::Refused(Refusal::IdReused);
        }
        let outcome: Outcome = record.outcome.outcome();
        return LookUp::Recorded(Committed::new(outcome));
    }
    if call.id.seq.0 < entry.watermark.max(call.watermark.0) && kept(Rule::StaleAfterAck) {
        return LookUp::Refused(Refusal::Stale);
    }
    if call.incarnation < Incarnation(entry.incarnation) && kept(Rule::FenceIncarnations) {
        return LookUp::Refused(Refusal::Fenced);
    }
    LookUp::Unknown
}

/// Trouble before the commit point: whatever became of that write, the call is not committed.
fn not_committed(error: StoreError) -> StoreError {
    match error {
        StoreError::Unknown { cause } => StoreError::Unavailable { cause },
        other => other,
    }
}

/// The largest document that can be written beside the anchor: it lies in metadata, as base64,
/// until it becomes a body, and metadata takes 1 MiB.
pub const MAX_STAGED_BYTES: usize = 704 << 10;
/// The largest result: the results of all calls on one anchor that are not acknowledged yet share
/// its metadata.
pub const MAX_RECORDED_BYTES: usize = 128 << 10;

/// How often a run over one document loses before its call asks others to leave it the document:
/// mostly it wins before, and asking costs a write and whatever is on its way to the document.
const LOSSES_BEFORE_WISH: u32 = 4;

/// The pause after a first conflict, and the longest: conflicts are usually over sooner.
pub(super) const CONFLICT_PAUSE: Duration = Duration::from_millis(1);
pub(super) const MAX_CONFLICT_PAUSE: Duration = Duration::from_millis(64);
