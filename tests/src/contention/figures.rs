//! What a run came to.

use std::time::Duration;

use crate::simulated::Operations;

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// Whose it was, counted from 0.
    pub client: u64,
    /// What accounts list it as: its client's id and its number there.
    pub name: (u64, u64),
    /// What it touched, the anchor first.
    pub accounts: Vec<u64>,
    /// How long it took, in virtual time, with everything that was tried for it.
    pub latency: Duration,
}

/// The figures of a run.
#[derive(Clone, Debug)]
pub struct Figures {
    /// All calls, by client.
    pub done: Vec<Done>,
    /// How long all of it took, in virtual time.
    pub elapsed: Duration,
    /// What was asked of the store.
    pub operations: Operations,
    /// How many clients there were.
    pub clients: u64,
}

impl Figures {
    /// Calls per second of virtual time.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.done.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the calls did not exceed.
    #[must_use]
    pub fn latency(&self, share: f64) -> Duration {
        let mut all: Vec<Duration> = self.done.iter().map(|done| done.latency).collect();
        all.sort_unstable();
        let last = all.len().saturating_sub(1);
        all.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    /// The fewest and the most calls that a client got done.
    #[must_use]
    pub fn fairness(&self) -> (u64, u64) {
        let of = |client| self.done.iter().filter(|done| done.client == client).count() as u64;
        let counts: Vec<u64> = (0..self.clients).map(of).collect();
        let least = counts.iter().min().copied().unwrap_or_default();
        (least, counts.iter().max().copied().unwrap_or_default())
    }

    /// Reads and writes of the store per call, with all that failed.
    #[must_use]
    pub fn operations_per_call(&self) -> (f64, f64) {
        let calls = self.done.len().max(1) as f64;
        (self.operations.gets as f64 / calls, self.operations.writes as f64 / calls)
    }
}
