//! What a server counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::server::Answer;

/// What a server has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Requests that came in, retries among them.
    pub requests: u64,
    /// Requests with the retry bit.
    pub retries: u64,
    /// Runs that ended with something recorded in the store.
    pub committed: u64,
    /// Calls whose outcome was found in the store, recorded by an earlier run.
    pub replayed_from_record: u64,
    /// Responses sent again from this server's own table.
    pub replayed_from_table: u64,
    /// Calls that ended with nothing to record: reads, plain calls, first attempts without writes.
    pub tentative: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// Calls that were ended at their deadline or at their caller's wish.
    pub aborts: u64,
    /// Connections taken.
    pub connections: u64,
    /// Connections refused or closed for what their peer sent.
    pub rejected: u64,
}

/// The counters behind [`ServerStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    committed: AtomicU64,
    replayed_from_record: AtomicU64,
    replayed_from_table: AtomicU64,
    tentative: AtomicU64,
    refused: AtomicU64,
    pub(super) aborts: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) rejected: AtomicU64,
}

/// What one connection has counted in one go: added up once, since what all connections share is
/// slow to touch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) retries: u64,
    pub(super) replayed_from_table: u64,
    committed: u64,
    replayed_from_record: u64,
    tentative: u64,
    refused: u64,
}

impl Tally {
    /// Counts a run whose result was recorded.
    pub(super) fn count_committed(&mut self) {
        self.committed += 1;
    }

    /// Counts a run that ended without a record.
    pub(super) fn count_tentative(&mut self) {
        self.tentative += 1;
    }

    pub(super) fn count(&mut self, answer: &Answer) {
        *match answer {
            Answer::Committed(_) => &mut self.committed,
            Answer::Recorded(_) => &mut self.replayed_from_record,
            Answer::Tentative(..) => &mut self.tentative,
            Answer::Refused(..) | Answer::Never(_) | Answer::Unknown(_) => &mut self.refused,
        } += 1;
    }
}

impl Counters {
    /// Counts the end of one run.
    pub(super) fn count(&self, answer: &Answer) {
        let mut tally = Tally::default();
        tally.count(answer);
        self.add(&tally);
    }

    pub(super) fn add(&self, tally: &Tally) {
        for (counter, count) in [
            (&self.requests, tally.requests),
            (&self.retries, tally.retries),
            (&self.replayed_from_table, tally.replayed_from_table),
            (&self.committed, tally.committed),
            (&self.replayed_from_record, tally.replayed_from_record),
            (&self.tentative, tally.tentative),
            (&self.refused, tally.refused),
        ] {
            if count > 0 {
                add(counter, count);
            }
        }
    }

    pub(super) fn read(&self) -> ServerStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerStats {
            requests: get(&self.requests),
            retries: get(&self.retries),
            committed: get(&self.committed),
            replayed_from_record: get(&self.replayed_from_record),
            replayed_from_table: get(&self.replayed_from_table),
            tentative: get(&self.tentative),
            refused: get(&self.refused),
            aborts: get(&self.aborts),
            connections: get(&self.connections),
            rejected: get(&self.rejected),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
