//! Who meets a stage: roll forward, roll back, wait, fence.
//!
//! A stage is decided by its anchor alone. If the anchor has the record of the stage's run, the run
//! has *won*. If it has not, and is in another state than the run read, the run has *lost*: its
//! commit compares that state. (A run that found no anchor has lost only once there is one with an
//! entry of its client: absence comes back.) Else the run is *undecided*: its owner may be about to commit, or
//! dead. Whoever must get past it waits a little, then *fences* it: a compare-and-swap on the anchor
//! changes its state, so that the owner's commit must fail.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::commit::{CONFLICT_PAUSE, MAX_CONFLICT_PAUSE};
use super::load::{EMPTY_BODY, Loaded, Written};
use super::meta::{Change, Fence, Meta, Stage, Token, Wish};
use super::{CasBackend, CasError, Inner};
use crate::id::{Attempt, CallId, ClientId, Seq};
use crate::rule::{Rule, kept};
use crate::store::{CallRef, DocKey, StoreError};
use crate::time::WallTime;

/// What became of the run that a stage belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Won,
    Lost,
    Undecided,
}

/// What is to be done with a stage whose run is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clear {
    /// Its run has won: the change takes effect.
    Forward,
    /// Its run has lost, and its call will run again: the document is left to it for a while.
    Back,
    /// Its run has lost and its owner is most likely dead: nobody need wait for it.
    Abandoned,
}

/// A call as it stands in conflicts. Among calls the oldest has the right of way, then the lower
/// id; among runs of one call the highest attempt. That order survives retries, so of any two calls
/// in conflict the same one goes on.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) call: CallId,
    pub(super) attempt: Attempt,
    pub(super) born: WallTime,
    pub(super) anchor: DocKey,
}

/// Which calls have met which others' stages since when, and how often each call has lost. Per
/// call, not per run: a call that starts over again and again is still the same obstacle.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    known: Mutex<HashMap<CallId, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    since: HashMap<CallId, Instant>,
    losses: u32,
}

/// How long a call with the right of way lets another finish, and how long one without it does: long
/// against a commit, short against a time-out.
const PATIENCE_OF_FIRST: Duration = Duration::from_millis(10);
const PATIENCE_OF_SECOND: Duration = Duration::from_millis(250);
/// The pause between two looks for whether a call with the right of way is over.
const WINNER_PAUSE: Duration = Duration::from_millis(4);
/// Conflicts remembered at once; beyond it they are forgotten, which costs patience, not safety.
const MAX_MEETINGS: usize = 65_536;
/// How often a stage is tried to be cleared while its document keeps changing.
const CLEAR_TRIES: usize = 8;

/// What the anchor says of a stage's run.
pub(super) fn fate_of(anchor: &Loaded, stage: &Stage) -> Fate {
    if anchor.meta.commits(stage.call(), stage.token) {
        return Fate::Won;
    }
    let may_be_as_it_was_read = match stage.anchor_cas {
        Some(read) => anchor.cas.is_some_and(|cas| cas.0 == read),
        // Absence comes back. An entry of the call's client keeps it away until nothing can come of
        // the call any more; whatever else lies there may go, and then the run still commits.
        None => !anchor.meta.clients.contains_key(&stage.client),
    };
    if may_be_as_it_was_read { Fate::Undecided } else { Fate::Lost }
}

impl Claim {
    pub(super) fn of(call: &CallRef, anchor: &DocKey) -> Claim {
        Claim { call: call.id, attempt: call.attempt, born: call.born, anchor: anchor.clone() }
    }

    fn goes_before(&self, stage: &Stage) -> bool {
        if self.call == stage.call() {
            return self.attempt.0 >= stage.attempt;
        }
        (self.born.0, self.call) < (stage.born, stage.call())
    }

    /// What the right of way goes by.
    fn age(&self) -> (u64, CallId, Reverse<u32>) {
        (self.born.0, self.call, Reverse(self.attempt.0))
    }

    /// The call that a document should be left to, if that is an older one, or a later attempt of
    /// the same one.
    pub(super) fn wish_before<'a>(&self, meta: &'a Meta) -> Option<&'a Wish> {
        meta.wish.as_ref().filter(|wish| wish.age() < self.age())
    }

    /// Forgets the wish of this call, or of one that was let go first for long enough.
    pub(super) fn fulfil(&self, meta: &mut Meta) {
        meta.wish.take_if(|wish| wish.age() <= self.age());
    }

    fn wish(&self) -> Wish {
        Wish {
            client: self.call.client.0,
            seq: self.call.seq.0,
            attempt: self.attempt.0,
            born: self.born.0,
            anchor: self.anchor.as_str().to_owned(),
        }
    }
}

impl<B: CasBackend> Inner<B> {
    /// Gets a stage out of the way, or lets its owner do so. The caller then starts over.
    pub(super) async fn make_way(
        &self,
        key: &DocKey,
        met: &Loaded,
        claim: &Claim,
    ) -> Result<(), StoreError> {
        let mut loaded = met.clone();
        let mut lost = Clear::Back;
        loop {
            let Some(stage) = loaded.meta.stage.clone() else { return Ok(()) };
            let anchor_key = DocKey::stored(&stage.anchor);
            let anchor = self.load(&anchor_key).await?;
            match fate_of(&anchor, &stage) {
                Fate::Undecided => {}
                Fate::Won => return self.clear_stage(key, &loaded, Clear::Forward).await,
                Fate::Lost => return self.clear_stage(key, &loaded, lost).await,
            }
            if !kept(Rule::FenceBeforeRemoval) {
                return self.clear_stage(key, &loaded, Clear::Abandoned).await;
            }
            let patience =
                if claim.goes_before(&stage) { PATIENCE_OF_FIRST } else { PATIENCE_OF_SECOND };
            let met_at = self.meetings.met(claim.call, stage.call());
            if met_at.elapsed() < patience {
                tokio::time::sleep(CONFLICT_PAUSE + self.jitter(CONFLICT_PAUSE * 4)).await;
            } else {
                self.fence(&anchor_key, &anchor, &stage, claim).await?;
                lost = Clear::Abandoned;
            }
            let again = self.load(key).await?;
            if again.cas != loaded.cas {
                return Ok(());
            }
            loaded = again;
        }
    }

    /// Makes the commit of a stage's run fail, and names whom it made way for. If the anchor has
    /// changed meanwhile, the run is decided without it.
    async fn fence(
        &self,
        key: &DocKey,
        anchor: &Loaded,
        stage: &Stage,
        claim: &Claim,
    ) -> Result<(), StoreError> {
        let mut meta = anchor.meta.clone();
        meta.fence = Some(Fence {
            token: stage.token,
            winner_client: claim.call.client.0,
            winner_seq: claim.call.seq.0,
            winner_anchor: claim.anchor.as_str().to_owned(),
        });
        // Absence has no CAS: a fence on an absent anchor must stay until nothing can come of the
        // fenced call any more.
        meta.clients.entry(stage.client).or_default();
        match self.write(key, anchor.cas, None, &meta, |_| false).await? {
            // Whoever has changed the anchor, the run cannot commit over the state that it has read.
            Written::Done(_) | Written::Lost => Ok(()),
        }
    }

    /// Makes a decided stage a body, or nothing. If the document has changed meanwhile, somebody
    /// else has done it.
    pub(super) async fn clear_stage(
        &self,
        key: &DocKey,
        loaded: &Loaded,
        how: Clear,
    ) -> Result<(), StoreError> {
        let Some(stage) = &loaded.meta.stage else { return Ok(()) };
        let token = stage.token;
        let mut now = loaded.clone();
        for _ in 0..CLEAR_TRIES {
            let Some(stage) = now.meta.stage.take().filter(|stage| stage.token == token) else {
                return Ok(());
            };
            let Some(cas) = now.cas else { return Ok(()) };
            let (call, own) = (stage.call(), stage.wish());
            now.meta.wish.take_if(|wish| match how {
                Clear::Forward => wish.call() == call,
                // Another attempt's wish stands.
                Clear::Back | Clear::Abandoned => *wish == own,
            });
            if how == Clear::Back {
                now.meta.wish(own);
            }
            let body = match (how, stage.change) {
                (Clear::Forward, Change::Put(body)) => {
                    now.meta.absent = false;
                    Some(Bytes::from(body.0))
                }
                (Clear::Forward, Change::Delete) => {
                    now.meta.absent = true;
                    Some(Bytes::from_static(EMPTY_BODY))
                }
                (Clear::Forward, Change::Guard) | (Clear::Back | Clear::Abandoned, _) => None,
            };
            if now.meta.is_void() {
                match self.backend.remove(key, cas).await {
                    Ok(()) => return Ok(()),
                    Err(CasError::Mismatch | CasError::Ambiguous(_)) => {}
                    Err(error) => return Err(super::load::store_error(error)),
                }
            } else {
                let is_ours = |meta: &Meta| meta.stage.is_none();
                match self.write(key, Some(cas), body, &now.meta, is_ours).await? {
                    Written::Done(_) => return Ok(()),
                    Written::Lost => {}
                }
            }
            now = self.load(key).await?;
            if !kept(Rule::LegOnce) && how == Clear::Forward {
                now = Loaded { cas: now.cas, ..loaded.clone() };
            }
        }
        Err(super::busy(key))
    }

    /// After a lost commit: waits for whoever won to finish, so that the two do not stop each other
    /// again. Gives up waiting soon; it is only a courtesy.
    pub(super) async fn wait_for_winner(&self, anchor: &Loaded, token: Token, claim: &Claim) {
        let fence = anchor.meta.fence.as_ref().filter(|fence| fence.token == token);
        let stage = anchor.meta.stage.as_ref().filter(|stage| !claim.goes_before(stage));
        let (winner, key) = match (fence, stage, claim.wish_before(&anchor.meta)) {
            (Some(fence), ..) => {
                let client = ClientId(fence.winner_client);
                let winner = CallId { client, seq: Seq(fence.winner_seq) };
                (winner, DocKey::stored(&fence.winner_anchor))
            }
            (None, Some(stage), _) => (stage.call(), DocKey::stored(&stage.anchor)),
            (None, None, Some(wish)) => (wish.call(), DocKey::stored(&wish.anchor)),
            (None, None, None) => return,
        };
        self.wait_for(winner, &key, claim).await;
    }

    /// Lets a call go first that wants what this one wants, until it is over; not for ever. Returns
    /// whether there was anything to wait for.
    pub(super) async fn wait_for(&self, other: CallId, anchor: &DocKey, claim: &Claim) -> bool {
        let since = self.meetings.met(claim.call, other);
        let mut has_waited = false;
        while since.elapsed() < PATIENCE_OF_SECOND {
            if self.load(anchor).await.is_ok_and(|now| now.meta.has_ended(other)) {
                break;
            }
            has_waited = true;
            tokio::time::sleep(WINNER_PAUSE + self.jitter(WINNER_PAUSE)).await;
        }
        has_waited
    }

    /// Asks younger calls to leave the anchor to this one. If it changes meanwhile: so be it.
    pub(super) async fn leave_wish(&self, key: &DocKey, anchor: &Loaded, claim: &Claim) {
        let (mut meta, wish) = (anchor.meta.clone(), claim.wish());
        if anchor.cas.is_none() || !meta.wish(wish.clone()) {
            return;
        }
        let is_ours = |meta: &Meta| meta.wish.as_ref() == Some(&wish);
        if let Err(error) = self.write(key, anchor.cas, None, &meta, is_ours).await {
            tracing::debug!(%key, %error, "a call goes on without having asked for its anchor");
        }
    }
}

impl Meetings {
    /// When this call first met that other one.
    fn met(&self, call: CallId, other: CallId) -> Instant {
        let mut known = self.lock();
        *Self::of(&mut known, call).since.entry(other).or_insert_with(Instant::now)
    }

    /// How often this call has lost.
    pub(super) fn losses(&self, call: CallId) -> u32 {
        self.lock().get(&call).map_or(0, |known| known.losses)
    }

    /// Lets whoever won go on: a pause that grows with the losses of the call, which it returns.
    pub(super) async fn pause<B: CasBackend>(&self, store: &Inner<B>, call: CallId) -> u32 {
        let losses = {
            let mut known = self.lock();
            let known = Self::of(&mut known, call);
            known.losses = known.losses.saturating_add(1);
            known.losses
        };
        let longest = (CONFLICT_PAUSE * (1 << losses.saturating_sub(4).min(8)))
            .min(MAX_CONFLICT_PAUSE)
            - CONFLICT_PAUSE;
        tokio::time::sleep(store.jitter(longest)).await;
        losses
    }

    /// The call is over.
    pub(super) fn forget(&self, call: CallId) {
        self.lock().remove(&call);
    }

    fn of(known: &mut HashMap<CallId, Known>, call: CallId) -> &mut Known {
        if known.len() >= MAX_MEETINGS && !known.contains_key(&call) {
            known.clear();
        }
        known.entry(call).or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cas::CasStore;
    use crate::store::cas::load::tests::Told;

    fn call(seq: u64) -> CallId {
        CallId { client: ClientId(1), seq: Seq(seq) }
    }

    fn claim(born: u64, seq: u64, attempt: u32) -> Claim {
        Claim {
            call: call(seq),
            attempt: Attempt(attempt),
            born: WallTime(born),
            anchor: DocKey::stored("a:1"),
        }
    }

    fn stage(born: u64, seq: u64, attempt: u32) -> Stage {
        Stage {
            anchor: "a:1".to_owned(),
            anchor_cas: None,
            client: 1,
            seq,
            attempt,
            born,
            token: Token(1, 1),
            change: Change::Guard,
        }
    }

    #[test]
    fn the_oldest_goes_first_then_the_lowest_id_then_the_latest_attempt() {
        let mine = claim(5, 5, 5);
        let goes_before = |born, seq, attempt| mine.goes_before(&stage(born, seq, attempt));
        assert!(goes_before(6, 4, 9) && !goes_before(4, 6, 1), "the oldest");
        assert!(goes_before(5, 6, 9) && !goes_before(5, 4, 1), "the lowest id");
        assert!(goes_before(5, 5, 4) && !goes_before(5, 5, 6), "the latest attempt");
        assert!(goes_before(5, 5, 5), "it is its own");
    }

    #[test]
    fn a_wish_is_heeded_by_those_after_it_and_forgotten_by_those_that_get_the_document() {
        let heeds = |wish: Wish| {
            let mut meta = Meta { wish: Some(wish), ..Meta::default() };
            let heeds = claim(5, 5, 5).wish_before(&meta).is_some();
            claim(5, 5, 5).fulfil(&mut meta);
            (heeds, meta.wish.is_none())
        };
        assert_eq!(
            heeds(claim(4, 5, 5).wish()),
            (true, true),
            "it was let go first for long enough"
        );
        assert_eq!(heeds(claim(5, 5, 6).wish()), (true, true));
        assert_eq!(heeds(claim(5, 5, 5).wish()), (false, true), "it is its own");
        assert_eq!(heeds(claim(5, 5, 4).wish()), (false, false));
        assert_eq!(heeds(claim(6, 5, 5).wish()), (false, false));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_begin_after_some_losses_and_are_bounded() {
        let store = CasStore::with_seed(Told::default(), 1, || WallTime(0));
        let meetings = Meetings::default();
        for losses in 1..40 {
            let began = Instant::now();
            assert_eq!(meetings.pause(&store.inner, call(1)).await, losses);
            assert_eq!(meetings.losses(call(1)), losses);
            let paused = began.elapsed();
            let doubled = CONFLICT_PAUSE * (1 << losses.saturating_sub(4).min(8));
            let longest = doubled.min(MAX_CONFLICT_PAUSE) - CONFLICT_PAUSE;
            // A timer may come a millisecond late.
            assert!(paused <= longest + Duration::from_millis(1), "{losses}: {paused:?}");
            assert_eq!(longest == Duration::ZERO, paused == Duration::ZERO, "{losses}: {paused:?}");
            assert_eq!(meetings.pause(&store.inner, call(2)).await, losses, "each has its own");
        }
        meetings.forget(call(1));
        assert_eq!((meetings.losses(call(1)), meetings.losses(call(2))), (0, 39));
    }

    #[tokio::test(start_paused = true)]
    async fn meetings_are_remembered_while_there_is_room() {
        let meetings = Meetings::default();
        let began = Instant::now();
        for seq in 1..=MAX_MEETINGS as u64 {
            meetings.met(call(seq), call(0));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(meetings.met(call(1), call(0)), began, "it is known");
        let one_more = MAX_MEETINGS as u64 + 1;
        assert!(meetings.met(call(one_more), call(0)) > began);
        assert!(meetings.met(call(1), call(0)) > began, "all were forgotten");
    }
}
