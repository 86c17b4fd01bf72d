//! What a call costs on the hot paths: allocations, bytes and writes. Exact, so held exactly.
//!
//! One test alone: the allocator counts for the whole process.

use std::alloc::System;

use rpc_bench::guard::{Baseline, in_process};
use rpc_bench::hot_path::{GUARDED, Path, name};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The two names of a call, made by the caller; and by the server, which takes them owned.
const OF_THE_ARGUMENTS: f64 = 4.0;
/// What buffers that grow may add to the mean of thousands of calls.
const ROUNDING: f64 = 0.02;

#[test]
fn a_call_costs_no_more_than_the_baseline_says() {
    let baseline: Baseline =
        serde_json::from_str(include_str!("../baseline.json")).expect("the baseline is JSON");
    for (path, in_flight) in GUARDED {
        let name = name(path, in_flight);
        let costs = in_process(path, in_flight).expect("the calls are made");
        let before = baseline.get(&name).expect("every guarded path is in the baseline");
        println!("{name}: {costs:?}");
        for (what, now, before) in [
            ("allocations", costs.allocations, before.allocations),
            ("bytes to the server", costs.bytes_to_server, before.bytes_to_server),
            ("bytes to the client", costs.bytes_to_client, before.bytes_to_client),
            ("writes", costs.writes, before.writes),
        ] {
            assert!(
                now <= before + ROUNDING,
                "{name}: {now} {what} a call, and {before} in the baseline; if that is meant, \
                 renew it: cargo run --release -p rpc-bench -- instructions --renew"
            );
        }
        if path == Path::Plain {
            assert!(
                costs.allocations <= OF_THE_ARGUMENTS + ROUNDING,
                "{name}: {} allocations a call, and the arguments make {OF_THE_ARGUMENTS}",
                costs.allocations
            );
        }
    }
}
