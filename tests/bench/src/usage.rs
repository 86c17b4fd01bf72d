//! What a process has used so far.

use std::io::{BufRead as _, Write as _};
use std::ops::Sub;

use serde::{Deserialize, Serialize};
use stats_alloc::INSTRUMENTED_SYSTEM;

/// What a process has used since its start. The allocator's figures stay at zero in a program that
/// does not count them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// CPU time of all threads, in seconds.
    pub(crate) cpu: f64,
    /// Allocations, and reallocations too.
    pub(crate) allocations: f64,
    /// Bytes allocated and not freed.
    pub(crate) live_bytes: f64,
    /// Bytes of memory that the kernel has given.
    pub(crate) resident_bytes: f64,
}

impl Usage {
    pub(crate) fn now() -> Usage {
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let heap = INSTRUMENTED_SYSTEM.stats();
        let live = heap.bytes_allocated as f64 - heap.bytes_deallocated as f64;
        Usage {
            cpu: clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9,
            allocations: (heap.allocations + heap.reallocations) as f64,
            live_bytes: live,
            resident_bytes: resident_bytes(),
        }
    }
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, before: Usage) -> Usage {
        Usage {
            cpu: self.cpu - before.cpu,
            allocations: self.allocations - before.allocations,
            live_bytes: self.live_bytes - before.live_bytes,
            resident_bytes: self.resident_bytes - before.resident_bytes,
        }
    }
}

/// Answers each line on the standard input with what this process has used; ends the process when
/// the input ends, so that a server never outlives who started it.
pub(crate) fn tell_when_asked() {
    std::thread::spawn(|| {
        for line in std::io::stdin().lock().lines() {
            let usage = serde_json::to_string(&Usage::now()).expect("figures are JSON");
            let told = writeln!(std::io::stdout(), "{usage}");
            if line.is_err() || told.is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
}

/// CPU time of the processes that this one has started and that have ended, in seconds.
pub(crate) fn cpu_of_children() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // A name, which may have spaces, ends with the last bracket.
    let fields = status.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let ticks: Option<Vec<f64>> = fields.skip(13).take(2).map(|field| field.parse().ok()).collect();
    let ticks = ticks.filter(|ticks| ticks.len() == 2).map(|ticks| ticks.iter().sum());
    ticks.unwrap_or(f64::NAN) / rustix::param::clock_ticks_per_second() as f64
}

fn resident_bytes() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| {
        text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok())
    });
    pages.unwrap_or(f64::NAN) * rustix::param::page_size() as f64
}
