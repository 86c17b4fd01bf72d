//! How long an endpoint takes to answer, and from that, how long to wait for it.
//!
//! The smoothed mean and deviation follow RFC 6298; a decaying histogram adds what they cannot
//! see, a tail that is rare but usual. The time-out is the larger of the two.

use std::time::Duration;

use super::ClientConfig;

/// Four buckets for each doubling, from 1 µs to about 2 minutes.
const BUCKETS: usize = 4 * 27;
/// How many samples the histogram remembers before it halves them all.
const MEMORY: u32 = 4096;
/// How often the percentiles are computed anew, in samples.
const REFRESH: u32 = 64;

/// What the configuration says of times that every call needs, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    initial: u64,
    least: u64,
    most: u64,
    /// The deadline of a request that names none.
    default_deadline: u64,
}

impl Timeouts {
    pub(super) fn new(config: &ClientConfig) -> Timeouts {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let least = micros(config.min_timeout);
        Timeouts {
            initial: micros(config.initial_timeout),
            least,
            most: micros(config.max_timeout).max(least),
            default_deadline: micros(config.deadline),
        }
    }

    /// What a request says of the time that is left of its deadline, in microseconds. The default
    /// one needs no bytes; what is less than a millisecond off is not worth any.
    #[inline]
    pub(super) fn deadline_to_send(&self, left: u64) -> Option<Duration> {
        let is_default = left.abs_diff(self.default_deadline) < 1_000;
        (!is_default).then(|| Duration::from_micros(left))
    }

    /// How long to wait for the answer to a first send.
    #[inline]
    pub(super) fn first(&self, rtt: Option<&Rtt>) -> u64 {
        let measured = rtt.and_then(Rtt::timeout);
        measured.unwrap_or(self.initial).clamp(self.least, self.most)
    }
}

/// Round-trip times of one method at one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Rtt {
    srtt: u64,
    deviation: u64,
    histogram: [u16; BUCKETS],
    total: u32,
    since_refresh: u32,
    p99: u64,
    p999: u64,
}

impl Rtt {
    pub(super) fn new() -> Rtt {
        Rtt {
            srtt: 0,
            deviation: 0,
            histogram: [0; BUCKETS],
            total: 0,
            since_refresh: 0,
            p99: 0,
            p999: 0,
        }
    }

    pub(super) fn add(&mut self, micros: u64) {
        let micros = micros.clamp(1, 1 << 27);
        if self.srtt == 0 {
            (self.srtt, self.deviation) = (micros, micros / 2);
        } else {
            self.deviation = (3 * self.deviation + self.srtt.abs_diff(micros)) / 4;
            self.srtt = (7 * self.srtt + micros) / 8;
        }
        self.histogram[bucket(micros)] += 1;
        self.total += 1;
        self.since_refresh += 1;
        if self.total >= MEMORY {
            self.halve();
        }
        if self.since_refresh >= REFRESH || self.total < REFRESH {
            self.refresh();
        }
    }

    /// How long to wait for an answer, in microseconds; `None` before the first one came.
    #[inline]
    pub(super) fn timeout(&self) -> Option<u64> {
        let measured = (self.srtt + 4 * self.deviation).max(self.p999);
        (self.srtt > 0).then_some(measured)
    }

    /// What 99 of 100 answers do not take longer than.
    pub(super) fn p99(&self) -> Option<Duration> {
        (self.srtt > 0).then(|| Duration::from_micros(self.p99.max(self.srtt)))
    }

    fn refresh(&mut self) {
        self.since_refresh = 0;
        let mut above = 0;
        let (mut p99, mut p999) = (None, None);
        for index in (0..BUCKETS).rev() {
            above += u32::from(self.histogram[index]);
            if p999.is_none() && above * 1000 > self.total {
                p999 = Some(upper_bound(index));
            }
            if above * 100 > self.total {
                p99 = Some(upper_bound(index));
                break;
            }
        }
        self.p999 = p999.unwrap_or(0);
        self.p99 = p99.unwrap_or(0);
    }

    fn halve(&mut self) {
        self.total = 0;
        for count in &mut self.histogram {
            *count /= 2;
            self.total += u32::from(*count);
        }
    }
}

fn bucket(micros: u64) -> usize {
    let exponent = micros.ilog2() as usize;
    let quarter = if exponent < 2 { 0 } else { (micros >> (exponent - 2) & 3) as usize };
    (4 * exponent + quarter).min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> u64 {
    let (exponent, quarter) = (bucket / 4, bucket as u64 % 4);
    if exponent < 2 {
        return 2 << exponent;
    }
    (1 << exponent) + ((quarter + 1) << exponent) / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_their_samples() {
        for micros in [1, 2, 3, 7, 100, 1_000, 12_345, 1 << 26] {
            assert!(upper_bound(bucket(micros)) >= micros, "{micros}");
            assert!(upper_bound(bucket(micros)) <= micros * 2, "{micros}");
        }
    }

    #[test]
    fn buckets_are_quarters_of_a_doubling() {
        let bounds = |range: std::ops::Range<u64>| range.map(|micros| upper_bound(bucket(micros)));
        assert_eq!(bounds(1..4).collect::<Vec<_>>(), [2, 4, 4]);
        assert_eq!(bounds(4..8).collect::<Vec<_>>(), [5, 6, 7, 8]);
        assert_eq!(bounds(8..12).collect::<Vec<_>>(), [10, 10, 12, 12]);
        assert_eq!(bucket(1 << 27), BUCKETS - 1, "the last takes what is longer");
        Rtt::new().add(u64::MAX);
    }

    #[test]
    fn mean_and_deviation_are_smoothed() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.p99(), None);
        rtt.add(1_000);
        assert_eq!((rtt.srtt, rtt.deviation, rtt.timeout()), (1_000, 500, Some(3_000)));
        rtt.add(2_000);
        assert_eq!((rtt.srtt, rtt.deviation, rtt.timeout()), (1_125, 625, Some(3_625)));
        rtt.add(125);
        assert_eq!((rtt.srtt, rtt.deviation, rtt.timeout()), (1_000, 718, Some(3_872)));
    }

    #[test]
    fn percentiles_are_what_fewer_take_longer_than() {
        const FAST: u64 = 100;
        const SLOW: u64 = 100_000;
        let of = |slow: u16| {
            let mut rtt = Rtt::new();
            rtt.histogram[bucket(FAST)] = 1_000 - slow;
            rtt.histogram[bucket(SLOW)] = slow;
            (rtt.total, rtt.srtt) = (1_000, FAST);
            rtt.refresh();
            (rtt.p99().unwrap(), Duration::from_micros(rtt.p999))
        };
        let [fast, slow] = [FAST, SLOW].map(|at| Duration::from_micros(upper_bound(bucket(at))));
        assert_eq!(of(1), (fast, fast), "999 of 1,000 are fast");
        assert_eq!(of(2), (fast, slow));
        assert_eq!(of(10), (fast, slow), "99 of 100 are fast");
        assert_eq!(of(11), (slow, slow));
    }

    #[test]
    fn percentiles_are_computed_for_each_of_the_first_answers_and_then_once_in_a_while() {
        let mut rtt = Rtt::new();
        let (fast, slow) = (upper_bound(bucket(100)), upper_bound(bucket(100_000)));
        for _ in 1..REFRESH {
            rtt.add(100);
            assert_eq!(rtt.p999, fast);
        }
        for _ in 1..REFRESH {
            rtt.add(100_000);
            assert_eq!(rtt.p999, fast);
        }
        rtt.add(100_000);
        assert_eq!(rtt.p999, slow);
    }

    #[test]
    fn a_full_memory_is_halved() {
        let mut rtt = Rtt::new();
        (0..3_001).for_each(|_| rtt.add(100));
        (0..1_095).for_each(|_| rtt.add(100_000));
        assert_eq!((rtt.histogram[bucket(100)], rtt.histogram[bucket(100_000)]), (1_500, 547));
        assert_eq!(rtt.total, 2_047);
    }

    #[test]
    fn a_deadline_that_is_nearly_the_default_is_not_sent() {
        let timeouts = Timeouts::new(&ClientConfig::default().deadline(Duration::from_secs(5)));
        let send = |left| timeouts.deadline_to_send(left);
        assert_eq!([send(5_000_000), send(4_999_001), send(5_000_999)], [None; 3]);
        assert_eq!(send(4_999_000), Some(Duration::from_micros(4_999_000)));
        assert_eq!(send(5_001_000), Some(Duration::from_micros(5_001_000)));
    }

    #[test]
    fn timeout_follows_the_tail() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.timeout(), None);
        for index in 0..2000 {
            rtt.add(if index % 100 == 0 { 50_000 } else { 200 });
        }
        let timeout = rtt.timeout().unwrap();
        assert!(timeout >= 50_000, "a usual tail is waited for: {timeout}");
        for _ in 0..40_000 {
            rtt.add(200);
        }
        let timeout = rtt.timeout().unwrap();
        assert!(timeout < 1_000, "and forgotten when it is over: {timeout}");
    }
}
