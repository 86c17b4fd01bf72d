//! Turns: runs of this process that want the same documents go one after the other, instead of
//! failing each other's compare-and-swap.
//!
//! A courtesy among runs of one process, never a lock: whether a run commits is decided in the store
//! alone, and a run whose turn has lasted too long is passed. So nothing here can be held for ever,
//! and runs of other processes are as free as before.
//!
//! A run takes its turn on all its documents at once or waits for all of them. Who waits is ordered
//! by right of way, the same order on every document, so that nobody waits in a circle and the oldest
//! call is never passed. A run that met a conflict keeps its turn for the short time that its call
//! needs to come back with another run; a call that does not come back says so.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::conflict::Claim;
use crate::id::{Attempt, CallId};
use crate::store::DocKey;
use crate::time::WallTime;

/// Who has the turn on which document, and who waits for it.
#[derive(Debug)]
pub(super) struct Turns {
    table: Mutex<Table>,
}

/// A run's place: its turn, or its wait for it. Dropping it lets the next one go.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ticket: Option<u64>,
    wake: Arc<Notify>,
}

/// What of a turn outlives its run: its documents are free once what follows the commit is done.
#[derive(Debug)]
pub(super) struct Rest {
    ticket: u64,
}

#[derive(Debug)]
struct Table {
    queues: HashMap<DocKey, Queue>,
    tickets: HashMap<u64, Ticket>,
    /// Turns that were kept for the next run of a call.
    kept: HashMap<(CallId, Attempt), u64>,
    next: u64,
    /// How long calls take to come back, on average.
    comes_back_after: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    holder: Option<u64>,
    waiting: BTreeSet<Place>,
}

/// Right of way: the oldest call first, then the lowest id, then the latest attempt.
type Place = (WallTime, CallId, Reverse<Attempt>, u64);

#[derive(Debug)]
struct Ticket {
    keys: Vec<DocKey>,
    place: Place,
    /// Since when it has the turn, and when it may be passed; `None` while it waits.
    held: Option<Held>,
    /// Its run has committed; what it waits for is that stages become bodies.
    is_over: bool,
    /// While it waited somebody had the turn who may have changed what its run has read.
    is_stale: bool,
    wake: Arc<Notify>,
}

/// How a turn leaves its documents, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    AsItWas,
    Changed,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    since: Instant,
    until: Instant,
}

/// How long a run has the turn before others may pass it: longer than it waits for a dead owner's
/// stage, so that not everybody waits for the same one; short against a call's deadline.
const MAX_TURN: Duration = Duration::from_millis(500);
/// How long a turn is kept for a call to come back with its next run: a few times as long as calls
/// take on average, longer with each loss, within these bounds. Only a call that neither comes back nor
/// gives up holds the others up for that time.
const MIN_KEPT: Duration = Duration::from_millis(4);
const MAX_KEPT: Duration = Duration::from_millis(500);
const KEPT_FACTOR: u32 = 4;
const MAX_KEPT_DOUBLINGS: u32 = 5;
/// What is taken for the average at the start.
const FIRST_COMES_BACK: Duration = Duration::from_millis(10);
/// Turns and waits at once; beyond it runs go without, which costs conflicts, not safety.
const MAX_TICKETS: usize = 65_536;

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            table: Mutex::new(Table {
                queues: HashMap::new(),
                tickets: HashMap::new(),
                kept: HashMap::new(),
                next: 0,
                comes_back_after: FIRST_COMES_BACK,
            }),
        }
    }
}

impl Turns {
    /// Takes the turn on all these documents, or a place in the line; the turn that was kept for
    /// this call, if it is for them.
    pub(super) fn enter(&self, claim: &Claim, mut keys: Vec<DocKey>) -> Turn<'_> {
        keys.sort_unstable();
        keys.dedup();
        let now = Instant::now();
        let mut table = self.lock();
        let kept = table.kept.remove(&(claim.call, claim.attempt));
        if let Some(turn) = kept.and_then(|number| table.take_up(number, &keys, now)) {
            return Turn { turns: self, ticket: Some(turn.0), wake: turn.1 };
        }
        let wake = Arc::new(Notify::new());
        let ticket = table.make_room(now).then(|| table.line_up(claim, keys, Arc::clone(&wake)));
        Turn { turns: self, ticket, wake }
    }

    /// Lets the next ones go on the documents of a run whose stages are bodies now.
    pub(super) fn end(&self, rest: Rest) {
        self.lock().remove(rest.ticket, Left::Changed);
    }

    /// A call that had its turn kept does not come back: it has changed nothing, and nobody need wait
    /// for it.
    pub(super) fn give_up(&self, call: CallId, attempt: Attempt) {
        let mut table = self.lock();
        if let Some(kept) = table.kept.get(&(call, attempt)).copied() {
            table.remove(kept, Left::AsItWas);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits for the turn. Returns whether somebody went first who may have changed what the run
    /// has read: then it is most likely old.
    pub(super) async fn wait(&self) -> bool {
        let Some(ticket) = self.ticket else { return false };
        loop {
            let look_again = {
                let mut table = self.turns.lock();
                table.pass_expired(ticket, Instant::now());
                match table.waits_until(ticket) {
                    Some(until) => until,
                    // Who is not there any more was passed: others have gone first.
                    None => return table.tickets.get(&ticket).is_none_or(|own| own.is_stale),
                }
            };
            // Woken or not, the table tells.
            let _ = tokio::time::timeout_at(look_again, self.wake.notified()).await;
        }
    }

    /// Keeps the turn for the next run of this call.
    pub(super) fn keep(mut self, claim: &Claim, losses: u32) {
        let Some(number) = self.ticket.take() else { return };
        let now = Instant::now();
        let mut table = self.turns.lock();
        let usual = (table.comes_back_after * KEPT_FACTOR).max(MIN_KEPT);
        let kept = (usual * (1 << losses.min(MAX_KEPT_DOUBLINGS))).min(MAX_KEPT);
        let Some(ticket) = table.tickets.get_mut(&number) else { return };
        ticket.held = Some(Held { since: now, until: now + kept });
        if let Some(earlier) = table.kept.insert((claim.call, claim.attempt), number) {
            table.remove(earlier, Left::AsItWas);
        }
    }

    /// Ends the run, and its turn on this document; the others stay until [`Turns::end`].
    pub(super) fn end_on(mut self, key: &DocKey) -> Option<Rest> {
        let ticket = self.ticket.take()?;
        self.turns.lock().leave(ticket, key);
        Some(Rest { ticket })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.turns.lock().remove(ticket, Left::Changed);
        }
    }
}

impl Table {
    /// A kept turn, for the next run, if it was not passed and is on all that this run wants.
    fn take_up(
        &mut self,
        number: u64,
        keys: &[DocKey],
        now: Instant,
    ) -> Option<(u64, Arc<Notify>)> {
        let ticket = self.tickets.get_mut(&number)?;
        let held = ticket.held?;
        let away = now.duration_since(held.since);
        self.comes_back_after = (self.comes_back_after * 7 + away) / 8;
        if keys.iter().all(|key| ticket.keys.contains(key)) {
            ticket.held = Some(Held { since: now, until: now + MAX_TURN });
            // This run has read what the one before it waited for.
            ticket.is_stale = false;
            return Some((number, Arc::clone(&ticket.wake)));
        }
        self.remove(number, Left::AsItWas);
        None
    }

    fn line_up(&mut self, claim: &Claim, keys: Vec<DocKey>, wake: Arc<Notify>) -> u64 {
        let number = self.next;
        self.next += 1;
        let place = (claim.born, claim.call, Reverse(claim.attempt), number);
        for key in &keys {
            let queue = self.queues.entry(key.clone()).or_default();
            // Who has read past those stages already need not wait for them.
            if queue.waiting.is_empty()
                && queue
                    .holder
                    .is_some_and(|holder| self.tickets.get(&holder).is_none_or(|t| t.is_over))
            {
                queue.holder = None;
            }
            queue.waiting.insert(place);
        }
        self.tickets.insert(
            number,
            Ticket { keys, place, held: None, is_over: false, is_stale: false, wake },
        );
        self.try_hold(number);
        number
    }

    /// Gives a ticket the turn, if it is the first in every line and nobody has the turn there.
    fn try_hold(&mut self, number: u64) {
        let Some(ticket) = self.tickets.get_mut(&number) else { return };
        let place = ticket.place;
        let is_first = |key: &DocKey| {
            let queue = self.queues.get(key);
            queue.is_some_and(|queue| {
                queue.holder.is_none() && queue.waiting.first() == Some(&place)
            })
        };
        if !ticket.keys.iter().all(is_first) {
            return;
        }
        let now = Instant::now();
        ticket.held = Some(Held { since: now, until: now + MAX_TURN });
        ticket.wake.notify_one();
        for key in &ticket.keys {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.waiting.remove(&place);
                queue.holder = Some(number);
            }
        }
    }

    fn remove(&mut self, number: u64, left: Left) {
        let Some(ticket) = self.tickets.remove(&number) else { return };
        if left == Left::Changed && ticket.held.is_some() {
            ticket.keys.iter().for_each(|key| self.make_stale(key));
        }
        let (_, call, Reverse(attempt), _) = ticket.place;
        if self.kept.get(&(call, attempt)) == Some(&number) {
            self.kept.remove(&(call, attempt));
        }
        for key in &ticket.keys {
            self.free(key, number, &ticket.place);
        }
        for key in &ticket.keys {
            self.call_first(key);
        }
    }

    fn leave(&mut self, number: u64, key: &DocKey) {
        let Some(ticket) = self.tickets.get_mut(&number) else { return };
        ticket.keys.retain(|other| other != key);
        ticket.is_over = true;
        let place = ticket.place;
        self.make_stale(key);
        self.free(key, number, &place);
        self.call_first(key);
    }

    /// Who waits for this document has read it before it was changed.
    fn make_stale(&mut self, key: &DocKey) {
        let Some(queue) = self.queues.get(key) else { return };
        for (.., waiting) in &queue.waiting {
            if let Some(ticket) = self.tickets.get_mut(waiting) {
                ticket.is_stale = true;
            }
        }
    }

    fn free(&mut self, key: &DocKey, number: u64, place: &Place) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        queue.waiting.remove(place);
        if queue.holder == Some(number) {
            queue.holder = None;
        }
        if queue.holder.is_none() && queue.waiting.is_empty() {
            self.queues.remove(key);
        }
    }

    fn call_first(&mut self, key: &DocKey) {
        let first = self.queues.get(key).and_then(|queue| queue.waiting.first());
        if let Some((.., number)) = first.copied() {
            self.try_hold(number);
        }
    }

    /// Takes the turn from those that have had it for too long, on the documents of this ticket.
    fn pass_expired(&mut self, waiting: u64, now: Instant) {
        let Some(ticket) = self.tickets.get(&waiting).filter(|ticket| ticket.held.is_none()) else {
            return;
        };
        let holders = ticket.keys.iter().filter_map(|key| self.queues.get(key)?.holder);
        let has_expired = |number: &u64| {
            let held = self.tickets.get(number).and_then(|ticket| ticket.held);
            held.is_none_or(|held| held.until <= now)
        };
        let expired: Vec<u64> = holders.filter(has_expired).collect();
        for number in expired {
            self.remove(number, Left::Changed);
        }
    }

    /// When a waiting ticket should look again, if nobody wakes it; `None`: it has the turn, or was
    /// passed and goes without.
    fn waits_until(&self, number: u64) -> Option<Instant> {
        let ticket = self.tickets.get(&number).filter(|ticket| ticket.held.is_none())?;
        let holders = ticket.keys.iter().filter_map(|key| self.queues.get(key)?.holder);
        let ends = holders.filter_map(|holder| Some(self.tickets.get(&holder)?.held?.until));
        // With nobody to look at, whoever is in front looks.
        Some(ends.min().unwrap_or_else(|| Instant::now() + MAX_TURN))
    }

    /// Whether one more ticket may be made.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.tickets.len() < MAX_TICKETS {
            return true;
        }
        let is_over = |ticket: &Ticket| ticket.held.is_some_and(|held: Held| held.until <= now);
        let over: Vec<u64> =
            self.tickets.iter().filter(|(_, t)| is_over(t)).map(|(number, _)| *number).collect();
        for number in over {
            self.remove(number, Left::Changed);
        }
        self.tickets.len() < MAX_TICKETS
    }
}

#[cfg(test)]
mod tests;
