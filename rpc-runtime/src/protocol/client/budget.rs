//! What retries may cost: a sick cluster must not be stormed.

use std::time::Duration;

use crate::time::Time;

/// A token bucket that calls and time fill and re-sends empty. In hundredths of a token.
#[derive(Debug)]
pub(super) struct RetryBudget {
    per_call: u64,
    per_second: u64,
    most: u64,
    held: u64,
    filled: Time,
}

/// The most re-sends that may be made at once, after a quiet time: as many calls as are usually in
/// flight when a server dies.
pub(super) const BURST: u32 = 1024;

impl RetryBudget {
    /// `percent` of calls, and `per_second` beside.
    pub(super) fn new(percent: u32, per_second: u32) -> RetryBudget {
        let most = u64::from(BURST) * 100;
        RetryBudget {
            per_call: u64::from(percent),
            per_second: u64::from(per_second) * 100,
            most,
            held: most,
            filled: Time::ZERO,
        }
    }

    /// A call was made.
    pub(super) fn deposit(&mut self) {
        self.held = (self.held + self.per_call).min(self.most);
    }

    /// Takes what one re-send costs, if it is there.
    pub(super) fn withdraw(&mut self, now: Time) -> bool {
        self.fill(now);
        let affordable = self.held >= 100;
        if affordable {
            self.held -= 100;
        }
        affordable
    }

    /// How long until a re-send can be paid for by time alone.
    pub(super) fn wait(&self) -> Duration {
        let missing = 100u64.saturating_sub(self.held);
        Duration::from_micros(missing * 1_000_000 / self.per_second.max(1))
            .max(Duration::from_millis(1))
    }

    fn fill(&mut self, now: Time) {
        let micros = now.0.saturating_sub(self.filled.0);
        let earned = micros.saturating_mul(self.per_second) / 1_000_000;
        if earned > 0 {
            self.held = self.held.saturating_add(earned).min(self.most);
            // What is left over counts for the next time.
            let paid_for = earned.saturating_mul(1_000_000).div_ceil(self.per_second);
            self.filled = Time(self.filled.0 + paid_for.min(micros));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_calls_and_a_trickle() {
        let mut budget = RetryBudget::new(20, 10);
        let now = Time(1);
        let burst = (0..10_000).filter(|_| budget.withdraw(now)).count();
        assert_eq!(burst, BURST as usize);
        for _ in 0..100 {
            budget.deposit();
        }
        assert_eq!((0..100).filter(|_| budget.withdraw(now)).count(), 20);
        assert_eq!(budget.wait(), Duration::from_millis(100));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| budget.withdraw(later)).count(), 10);
    }

    #[test]
    fn asking_often_loses_none_of_the_trickle() {
        let mut budget = RetryBudget::new(0, 10);
        while budget.withdraw(Time::ZERO) {}
        // Each time less has passed than earns a hundredth of a re-send.
        let second = (1..=2_500).map(|index| Time(index * 400));
        assert_eq!(second.filter(|now| budget.withdraw(*now)).count(), 10);
    }
}
