//! Time as the protocol sees it: integers that the driver hands in, so that a run can be replayed.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on a monotonic clock: microseconds since an origin that the driver chose. The protocol
/// never reads a clock; it is told the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The origin of the clock.
    pub const ZERO: Time = Time(0);
    /// A moment that never comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// How many microseconds after `earlier` this is; 0 if it is not after it.
    #[must_use]
    #[inline]
    pub(crate) fn micros_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment this many microseconds later.
    #[must_use]
    #[inline]
    pub(crate) fn after(self, micros: u64) -> Time {
        Time(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in microseconds, as many as there can be.
#[inline]
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, later: Duration) -> Time {
        self.after(micros(later))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, earlier: Duration) -> Time {
        let micros = u64::try_from(earlier.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(micros))
    }
}

/// A moment of the wall clock: milliseconds since the Unix epoch. Only session leases use it, and
/// only past their margin does a clock that is wrong matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub u64);

/// Where the time of the wall clock comes from.
pub(crate) type WallClock = Box<dyn Fn() -> WallTime + Send + Sync>;

impl WallTime {
    /// What this machine's wall clock says.
    #[must_use]
    pub fn now() -> WallTime {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Sub<Duration> for WallTime {
    type Output = WallTime;

    fn sub(self, earlier: Duration) -> WallTime {
        let millis = u64::try_from(earlier.as_millis()).unwrap_or(u64::MAX);
        WallTime(self.0.saturating_sub(millis))
    }
}

impl Add<Duration> for WallTime {
    type Output = WallTime;

    fn add(self, later: Duration) -> WallTime {
        let millis = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        WallTime(self.0.saturating_add(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time::NEVER + Duration::from_secs(1), Time::NEVER);
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
        assert_eq!((Time(5) + Duration::from_micros(4)).since(Time(5)), Duration::from_micros(4));
    }
}
