//! Instructions of the server per call, in user space: the work that a call takes, whatever the
//! processor's caches hold.
//!
//! The server is filled before valgrind counts, which is so much faster, and the clients are not slowed
//! down at all: with many calls in flight a server always finds as many as it does without valgrind.

use std::error::Error;
use std::time::Duration;

use indicatif::ProgressBar;

use super::{Case, FLAT, LOADS, Series, crowd, start, verdict};
use crate::instructions::{Counter, can_count};
use crate::process::Program;
use crate::table::thousands;

/// How long calls are counted. Ten thousand connections are then called twice or more.
const TIME: Duration = Duration::from_secs(5);

/// Of one case; one entry for each of the loads, where it is counted.
type Counts = [Option<f64>; LOADS.len()];

/// Of each series, the small and the large case.
pub(super) fn measure(
    all: &[Series],
    bar: &ProgressBar,
) -> Result<Vec<[Counts; 2]>, Box<dyn Error>> {
    if !can_count() {
        return Err("there is no valgrind".into());
    }
    let mut found = Vec::new();
    for series in all {
        let mut counts = [Counts::default(); 2];
        for (size, counts) in series.sizes.iter().zip(&mut counts) {
            bar.set_message(format!("instructions, {size} {}", series.what));
            *counts = count((series.case)(*size))?;
            bar.inc(1);
        }
        found.push(counts);
    }
    Ok(found)
}

/// Whether valgrind changes nothing but the time. A single call on disk is mostly threads that wake
/// each other, which valgrind lets run by turns. And ten thousand connections that are called one at a time
/// are each called so rarely that acknowledgements travel alone.
fn is_telling(case: Case, in_flight: usize) -> bool {
    in_flight > 1 || !(case.durable || case.spread)
}

fn count(case: Case) -> Result<Counts, Box<dyn Error>> {
    let files = tempfile::tempdir()?;
    let prefix = files.path().join("control").display().to_string();
    let server = start(&Program::this()?.counted_when_told(&prefix), case)?;
    let mut counts = Counts::default();
    for (in_flight, count) in LOADS.into_iter().zip(&mut counts) {
        if is_telling(case, in_flight) {
            let client = Program::this()?;
            let mut crowd = crowd(&client, &server.address, case, in_flight, TIME)?;
            let counter = Counter::on(server.id(), &prefix)?;
            let calls = crowd.go()?.calls;
            *count = Some(counter.off()? / calls as f64);
        }
    }
    Ok(counts)
}

pub(super) fn print(all: &[Series], found: &[[Counts; 2]]) {
    println!(
        "Instructions of the server in user space per call, counted by valgrind: the work that a call \
         takes, whatever the caches hold. Of all threads, that which writes the embedded store's log included; \
         {} s are too short for a checkpoint.\n",
        TIME.as_secs()
    );
    println!("| what grows | in flight | size | instructions/call | × the smallest | |");
    println!("| --- | ---: | ---: | ---: | ---: | --- |");
    for (load, in_flight) in LOADS.into_iter().enumerate() {
        for (series, counts) in all.iter().zip(found) {
            let [Some(small), Some(large)] = [0, 1].map(|step: usize| counts[step][load]) else {
                continue;
            };
            for (size, count) in series.sizes.into_iter().zip([small, large]) {
                let ratio = count / small;
                println!(
                    "| {} | {in_flight} | {} | {} | {ratio:.2} | {} |",
                    series.what,
                    thousands((series.case)(size).shown(size, in_flight) as f64),
                    thousands(count),
                    verdict(ratio <= FLAT),
                );
            }
        }
    }
    println!();
}
