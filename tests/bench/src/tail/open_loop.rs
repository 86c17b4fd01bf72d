//! Calls made by the clock, whether the earlier ones have ended or not.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

/// How a call ended, and when.
#[derive(Clone, Debug)]
pub(super) struct Ended<T> {
    /// When it was due, from the beginning of the run.
    pub(super) due: Duration,
    /// How long it took from then.
    pub(super) took: Duration,
    pub(super) result: T,
}

/// Makes so many calls a second for this long, and waits for all of them.
pub(super) async fn run<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    per_second: f64,
    time: Duration,
    call: impl Fn() -> F,
) -> Vec<Ended<T>> {
    let mut calls = JoinSet::new();
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    // A late tick makes up for what it missed: see below.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut made = 0;
    while start.elapsed() < time {
        ticks.tick().await;
        while (made as f64) < start.elapsed().as_secs_f64() * per_second {
            let due = Duration::from_secs_f64(made as f64 / per_second);
            let call = call();
            calls.spawn(async move {
                let result = call.await;
                Ended { due, took: start.elapsed().saturating_sub(due), result }
            });
            made += 1;
        }
    }
    calls.join_all().await
}

/// The latency that this share of the calls stays below.
pub(super) fn quantile<'a, T: 'a>(
    calls: impl Iterator<Item = &'a Ended<T>>,
    share: f64,
) -> Duration {
    let mut each: Vec<Duration> = calls.map(|call| call.took).collect();
    each.sort_unstable();
    let at = (each.len() as f64 * share) as usize;
    each.get(at.min(each.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_that_of_the_sorted_calls() {
        let ended =
            |millis| Ended { due: Duration::ZERO, took: Duration::from_millis(millis), result: () };
        let calls: Vec<_> = (1..=1000).rev().map(ended).collect();
        assert_eq!(quantile(calls.iter(), 0.5), Duration::from_millis(501));
        assert_eq!(quantile(calls.iter(), 0.999), Duration::from_millis(1000));
        assert_eq!(quantile(calls[..0].iter(), 0.5), Duration::ZERO);
    }
}
