//! The same program with an allocator that counts. Counting costs time, so no time is taken here:
//! `rpc-bench` starts this one where allocations are to be counted.

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    rpc_bench::run()
}
