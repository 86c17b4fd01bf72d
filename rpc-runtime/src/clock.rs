//! The driver's clock: turns the runtime's time into the protocol's.

use std::time::Duration;

use tokio::time::Instant;

use crate::time::Time;

/// A monotonic clock with its origin. Follows tokio's clock, so it can be paused in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        let elapsed = self.origin.elapsed();
        Time(elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros()))
    }

    /// The runtime's moment, a millisecond or less after `time` (its timers are that coarse).
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.origin + Duration::from_micros(time.0)
    }
}
