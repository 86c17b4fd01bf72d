//! The driver's clock: turns the runtime's time into the protocol's.

use std::time::Duration;

use tokio::time::Instant;

use crate::time::{Time, WallTime};

/// A monotonic clock with its origin. Follows tokio's clock, so it can be paused in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The time at the origin.
    begins: Time,
}

/// Far enough off to stand for never, near enough to be an instant: ten years.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { origin: Instant::now(), begins: Time::ZERO }
    }

    /// A clock whose time is that since the epoch, so that it means something to a later process. It
    /// runs on as the runtime's does, whatever happens to the wall's.
    pub(crate) fn from_the_epoch(now: WallTime) -> Clock {
        Clock { origin: Instant::now(), begins: Time(now.0.saturating_mul(1_000)) }
    }

    pub(crate) fn now(&self) -> Time {
        let elapsed = self.origin.elapsed();
        Time(self.begins.0 + elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros()))
    }

    /// The runtime's moment, a millisecond or less after `time` (its timers are that coarse); for
    /// never, one that is far off.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.origin + time.since(self.begins).min(FAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn never_is_far_off_whenever_the_clock_begins() {
        for clock in [Clock::new(), Clock::from_the_epoch(WallTime(1_800_000_000_000))] {
            let (begin, now) = (Instant::now(), clock.now());
            assert_eq!(clock.instant(Time::NEVER).duration_since(begin), FAR);
            assert_eq!(clock.instant(now).duration_since(begin), Duration::ZERO);
            assert_eq!(clock.instant(now.after(5)).duration_since(begin), Duration::from_micros(5));
        }
        let later = Clock::from_the_epoch(WallTime(7));
        assert_eq!(later.now(), Time(7_000));
    }
}
