//! What follows a commit: stages become bodies, to-do lists get shorter, entries of closed sessions
//! go.
//!
//! A document leaves a to-do list only by somebody who has *seen it without that stage*, together
//! with their next write to the anchor. Until then the record is pinned, since it alone says what
//! the stage means.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::commit::Staged;
use super::conflict::Clear;
use super::load::Written;
use super::meta::{Meta, Token};
use super::turns::Rest;
use super::{CasBackend, Inner};
use crate::id::{CallId, ClientId, Seq};
use crate::store::{DocKey, StoreError};

/// What this process has seen and not yet written down. All of it can be forgotten: somebody will
/// look again.
#[derive(Debug, Default)]
pub(super) struct Tidy {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By anchor and call: all documents of the to-do list were seen without the stage.
    cleared: HashMap<DocKey, HashSet<(u64, u64)>>,
    cleared_count: usize,
    /// Clients whose sessions are over, beyond the margin.
    over: HashSet<u64>,
    /// Anchors that a task is looking after.
    busy: HashSet<DocKey>,
    /// Anchors with many clients, and when their sessions were looked at last.
    visited: HashMap<DocKey, Instant>,
}

/// Calls remembered as cleared, clients remembered as over.
const MAX_REMEMBERED: usize = 65_536;
/// From how many clients on an anchor is looked at for entries that can go.
const MANY_CLIENTS: usize = 16;
/// How long the clients of an anchor are left alone once they were looked at: a read each, and leases
/// last much longer than this.
const VISIT_PAUSE: Duration = Duration::from_secs(60);
/// From how many pinned records below the watermark on somebody looks whether their stages are gone.
const MANY_PINNED: usize = 4;

impl<B: CasBackend> Inner<B> {
    /// After the commit point: makes the stages bodies, and remembers that they are.
    pub(super) async fn unstage(
        self: Arc<Self>,
        anchor: DocKey,
        call: CallId,
        staged: Vec<Staged>,
        rest: Option<Rest>,
    ) {
        let cleared = join_all(staged.iter().map(|stage| async {
            self.clear_stage(&stage.key, &stage.loaded, Clear::Forward).await
        }))
        .await;
        if let Some(rest) = rest {
            self.turns.end(rest);
        }
        match cleared.into_iter().collect::<Result<Vec<()>, StoreError>>() {
            Ok(_) => self.tidy.note_cleared(anchor, call),
            Err(error) => {
                tracing::debug!(%anchor, %call, %error, "a stage waits for its next reader")
            }
        }
    }

    /// Starts a task that looks after an anchor which has gathered much, if none does.
    pub(super) fn consider_tidying(self: &Arc<Self>, key: &DocKey, meta: &Meta) {
        let pinned = meta.clients.values().flat_map(|entry| {
            let watermark = entry.watermark;
            entry.records.iter().filter(move |(seq, _)| **seq < watermark)
        });
        let is_crowded = meta.clients.len() >= MANY_CLIENTS;
        let is_pinned = pinned.count() >= MANY_PINNED;
        if (is_crowded || is_pinned) && self.tidy.begin(key, is_crowded, is_pinned) {
            let (store, key, meta) = (Arc::clone(self), key.clone(), meta.clone());
            tokio::spawn(async move {
                if let Err(error) = store.look_after(&key, &meta).await {
                    tracing::debug!(%key, %error, "an anchor stays untidy for now");
                }
                store.tidy.lock().busy.remove(&key);
            });
        }
    }

    /// Finds out which stages of pinned records are gone, and which clients' sessions are over.
    async fn look_after(&self, key: &DocKey, meta: &Meta) -> Result<(), StoreError> {
        let visits = meta.clients.len() >= MANY_CLIENTS && self.tidy.is_visit_due(key);
        if visits {
            self.tidy.note_visit(key);
            self.look_for_ended_sessions(meta).await?;
        }
        for (client, entry) in &meta.clients {
            // Nobody will acknowledge the last calls of a session that is over.
            let is_over = self.tidy.lock().over.contains(client);
            for (seq, record) in &entry.records {
                let call = CallId { client: ClientId(*client), seq: Seq(*seq) };
                if let Some(token) = record.token
                    && !record.to_do.is_empty()
                    && (is_over || *seq < entry.watermark)
                    && self.is_cleared(&record.to_do, token).await?
                {
                    self.tidy.note_cleared(key.clone(), call);
                }
            }
        }
        Ok(())
    }

    async fn look_for_ended_sessions(&self, meta: &Meta) -> Result<(), StoreError> {
        let wishing = meta.wish.iter().map(|wish| &wish.client);
        for client in meta.clients.keys().chain(wishing) {
            if self.is_over(ClientId(*client)).await? {
                self.tidy.note_over(*client);
            }
        }
        Ok(())
    }

    /// Whether none of these documents has the stage of this run any more; clears those that have.
    async fn is_cleared(&self, to_do: &[String], token: Token) -> Result<bool, StoreError> {
        for name in to_do {
            let key = DocKey::stored(name);
            let loaded = self.load(&key).await?;
            if loaded.meta.stage.as_ref().is_some_and(|stage| stage.token == token) {
                self.clear_stage(&key, &loaded, Clear::Forward).await?;
            }
        }
        Ok(true)
    }

    /// Removes what a document need not remember any more; the document too, if it is none. For
    /// documents that nobody writes any more. Returns whether it is gone.
    pub(super) async fn collect(&self, key: &DocKey) -> Result<bool, StoreError> {
        let loaded = self.load(key).await?;
        let Some(cas) = loaded.cas else { return Ok(true) };
        self.look_for_ended_sessions(&loaded.meta).await?;
        self.look_after(key, &loaded.meta).await?;
        let mut meta = loaded.meta.clone();
        self.tidy.apply(key, &mut meta);
        if meta == loaded.meta {
            return Ok(false);
        }
        if meta.is_void() {
            return Ok(self.remove(key, cas).await);
        }
        match self.write(key, Some(cas), None, &meta, |_| false).await? {
            // It is there still, whoever has written it.
            Written::Done(_) | Written::Lost => Ok(false),
        }
    }
}

impl Seen {
    fn is_visit_due(&self, key: &DocKey) -> bool {
        self.visited.get(key).is_none_or(|last| last.elapsed() >= VISIT_PAUSE)
    }
}

impl Tidy {
    /// Takes out of an anchor's metadata what need not be remembered: to-do lists whose stages are
    /// gone, and clients whose sessions are over.
    pub(super) fn apply(&self, key: &DocKey, meta: &mut Meta) {
        let seen = self.lock();
        let cleared = seen.cleared.get(key);
        for (client, entry) in &mut meta.clients {
            let watermark = entry.watermark;
            for (seq, record) in &mut entry.records {
                if cleared.is_some_and(|calls| calls.contains(&(*client, *seq))) {
                    record.to_do.clear();
                }
            }
            entry.records.retain(|seq, record| *seq >= watermark || !record.to_do.is_empty());
        }
        meta.clients.retain(|client, entry| {
            let pinned = entry.records.values().any(|record| !record.to_do.is_empty());
            pinned || !seen.over.contains(client)
        });
        meta.wish.take_if(|wish| seen.over.contains(&wish.client));
    }

    /// Forgets what the anchor itself says now.
    pub(super) fn forget_cleared(&self, key: &DocKey, meta: &Meta) {
        let mut seen = self.lock();
        let Some(calls) = seen.cleared.get_mut(key) else { return };
        let before = calls.len();
        calls.retain(|(client, seq)| {
            let entry = meta.clients.get(client);
            let record = entry.and_then(|entry| entry.records.get(seq));
            record.is_some_and(|record| !record.to_do.is_empty())
        });
        let (after, empty) = (calls.len(), calls.is_empty());
        if empty {
            seen.cleared.remove(key);
        }
        seen.cleared_count -= before - after;
    }

    /// Whether there is something to look after on this anchor, and nobody is at it yet.
    fn begin(&self, key: &DocKey, is_crowded: bool, is_pinned: bool) -> bool {
        let mut seen = self.lock();
        (is_pinned || is_crowded && seen.is_visit_due(key)) && seen.busy.insert(key.clone())
    }

    fn is_visit_due(&self, key: &DocKey) -> bool {
        self.lock().is_visit_due(key)
    }

    fn note_visit(&self, key: &DocKey) {
        let mut seen = self.lock();
        if seen.visited.len() >= MAX_REMEMBERED {
            seen.visited.clear();
        }
        seen.visited.insert(key.clone(), Instant::now());
    }

    fn note_cleared(&self, anchor: DocKey, call: CallId) {
        let mut seen = self.lock();
        if seen.cleared_count >= MAX_REMEMBERED {
            seen.cleared.clear();
            seen.cleared_count = 0;
        }
        let new = seen.cleared.entry(anchor).or_default().insert((call.client.0, call.seq.0));
        seen.cleared_count += usize::from(new);
    }

    fn note_over(&self, client: u64) {
        let mut seen = self.lock();
        if seen.over.len() >= MAX_REMEMBERED {
            seen.over.clear();
        }
        seen.over.insert(client);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::cas::meta::{ClientEntry, Record, RecordedOutcome};

    fn key(name: &str) -> DocKey {
        DocKey::stored(name)
    }

    fn call(seq: u64) -> CallId {
        CallId { client: ClientId(1), seq: Seq(seq) }
    }

    /// An anchor with a record of client 1, and what is still to be done for it.
    fn anchor(seq: u64, to_do: &[&str]) -> Meta {
        let record = Record {
            hash: 0,
            outcome: RecordedOutcome::AbortedByDeadline,
            token: None,
            to_do: to_do.iter().map(|name| (*name).to_owned()).collect(),
        };
        let entry =
            ClientEntry { incarnation: 1, watermark: 1, records: BTreeMap::from([(seq, record)]) };
        Meta { clients: BTreeMap::from([(1, entry)]), ..Meta::default() }
    }

    #[test]
    fn what_an_anchor_says_itself_is_not_remembered() {
        let tidy = Tidy::default();
        for seq in [1, 1, 2] {
            tidy.note_cleared(key("a:1"), call(seq));
        }
        tidy.note_cleared(key("a:2"), call(3));
        assert_eq!(tidy.lock().cleared_count, 3);
        tidy.forget_cleared(&key("a:1"), &anchor(2, &["b:1"]));
        assert_eq!(
            tidy.lock().cleared[&key("a:1")],
            HashSet::from([(1, 2)]),
            "it has a to-do list"
        );
        assert_eq!(tidy.lock().cleared_count, 2);
        tidy.forget_cleared(&key("a:1"), &anchor(2, &[]));
        assert!(!tidy.lock().cleared.contains_key(&key("a:1")));
        assert_eq!(tidy.lock().cleared_count, 1);
        assert_eq!(tidy.lock().cleared[&key("a:2")], HashSet::from([(1, 3)]));
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_looks_after_an_anchor_and_not_too_often_after_its_clients() {
        let tidy = Tidy::default();
        let begins = |name: &str, is_crowded, is_pinned| {
            let begins = tidy.begin(&key(name), is_crowded, is_pinned);
            if begins {
                assert!(!tidy.begin(&key(name), is_crowded, is_pinned), "somebody is at it");
                tidy.lock().busy.remove(&key(name));
            }
            begins
        };
        assert!(!begins("a:1", false, false));
        assert!(begins("a:1", false, true) && begins("a:1", true, false));
        tidy.note_visit(&key("a:1"));
        tidy.note_visit(&key("a:2"));
        assert!(!begins("a:1", true, false) && !begins("a:2", true, false));
        assert!(begins("a:1", true, true), "the pinned ones");
        tokio::time::advance(VISIT_PAUSE - Duration::from_millis(1)).await;
        assert!(!begins("a:1", true, false) && !tidy.is_visit_due(&key("a:1")));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(begins("a:1", true, false) && tidy.is_visit_due(&key("a:1")));
    }

    #[test]
    fn several_clients_are_known_to_be_over() {
        let tidy = Tidy::default();
        tidy.note_over(1);
        tidy.note_over(2);
        assert_eq!(tidy.lock().over, HashSet::from([1, 2]));
    }
}
