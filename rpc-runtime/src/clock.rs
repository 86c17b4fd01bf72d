//! The driver's clock: turns the runtime's time into the protocol's.

use tokio::time::Instant;

use crate::time::{Time, WallTime};

/// A monotonic clock with its origin. Follows tokio's clock, so it can be paused in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The time at the origin.
    begins: Time,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { origin: Instant::now(), begins: Time::ZERO }
    }

    /// A clock whose time is that since the epoch, so that it means something to a later process. It
    /// runs on as the runtime's does, whatever happens to the wall's.
    pub(crate) fn from_the_epoch() -> Clock {
        let millis = WallTime::now().0;
        Clock { origin: Instant::now(), begins: Time(millis.saturating_mul(1_000)) }
    }

    pub(crate) fn now(&self) -> Time {
        let elapsed = self.origin.elapsed();
        Time(self.begins.0 + elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros()))
    }

    /// The runtime's moment, a millisecond or less after `time` (its timers are that coarse).
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.origin + time.since(self.begins)
    }
}
