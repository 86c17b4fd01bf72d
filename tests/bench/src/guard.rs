//! The guard: what a call costs on the hot paths, compared with a committed baseline.
//!
//! Times are too noisy to stop a change by; counts are not. Each path is run once and once more
//! with twice the calls; the difference is what the additional calls cost, without the start and
//! the end.
//!
//! Allocations, bytes and writes are counted in process, and held by a test
//! (`tests/hot_path.rs`). Instructions need `valgrind`, and are held by `instructions --check`.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::hot_path::{GUARDED, Path, name, run as run_path};
use crate::instructions::{can_count, collected, valgrind};
use crate::process::Program;

/// How much more than the baseline a path may take. The count itself repeats to the instruction;
/// the room is for another compiler's choices, and another machine's `memcpy`.
const BOUND: f64 = 1.05;
/// The calls of the shorter run: enough that a rare step (a buffer that grows) weighs little.
const CALLS: usize = 4096;

/// What `instructions` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Ends with an error if a path takes more than the baseline and its bound allow.
    #[arg(long, conflicts_with = "renew")]
    check: bool,
    /// Writes what was counted as the new baseline.
    #[arg(long)]
    renew: bool,
    /// The baseline's file.
    #[arg(long, default_value = "tests/bench/baseline.json")]
    baseline: PathBuf,
}

/// What one call costs, client and server together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Instructions in user space, as callgrind counts them.
    pub instructions: f64,
    /// Allocations, those of the arguments and the business included.
    pub allocations: f64,
    /// Bytes to the server.
    pub bytes_to_server: f64,
    /// Bytes to the client.
    pub bytes_to_client: f64,
    /// Writes of the client; a write carries all requests that were ready.
    pub writes: f64,
}

/// The baseline: each guarded path by its name.
pub type Baseline = BTreeMap<String, Costs>;

/// What is counted in process, for the whole of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Counted {
    allocations: f64,
    sent: f64,
    received: f64,
    writes: f64,
}

/// What a call costs beside instructions. Counts allocations if this program has the counting
/// allocator.
///
/// # Errors
/// As [`run`](crate::hot_path::run).
pub fn in_process(path: Path, in_flight: usize) -> Result<Costs, Box<dyn Error>> {
    // What is made once for a process is made before anything is counted.
    count(path, in_flight, CALLS)?;
    let [once, twice] = [CALLS, 2 * CALLS].map(|calls| count(path, in_flight, calls));
    Ok(difference(once?, twice?, f64::NAN))
}

/// Runs a path in this process and counts.
pub(crate) fn count(path: Path, in_flight: usize, calls: usize) -> Result<Counted, Box<dyn Error>> {
    let heap = stats_alloc::INSTRUMENTED_SYSTEM.stats();
    let traffic = run_path(path, in_flight, calls)?;
    let used = stats_alloc::INSTRUMENTED_SYSTEM.stats() - heap;
    Ok(Counted {
        allocations: (used.allocations + used.reallocations) as f64,
        sent: traffic.sent as f64,
        received: traffic.received as f64,
        writes: traffic.writes as f64,
    })
}

fn difference(once: Counted, twice: Counted, instructions: f64) -> Costs {
    let per_call = |once: f64, twice: f64| {
        let exact = (twice - once) / CALLS as f64;
        (exact * 1000.0).round() / 1000.0
    };
    Costs {
        instructions,
        allocations: per_call(once.allocations, twice.allocations),
        bytes_to_server: per_call(once.sent, twice.sent),
        bytes_to_client: per_call(once.received, twice.received),
        writes: per_call(once.writes, twice.writes),
    }
}

/// Counts, prints a table, and compares or renews.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if cfg!(feature = "peers") {
        return Err("the peers change how shared crates are compiled; leave out --features".into());
    }
    has_valgrind()?;
    let counting = Program::counting()?;
    let found = GUARDED.map(|(path, in_flight)| {
        let costs = costs(path, in_flight, &counting)?;
        Ok::<_, Box<dyn Error>>((name(path, in_flight), costs))
    });
    let found: Baseline = found.into_iter().collect::<Result<_, _>>()?;
    if arguments.renew {
        let text = serde_json::to_string_pretty(&found)? + "\n";
        std::fs::write(&arguments.baseline, text)
            .map_err(|error| format!("cannot write {}: {error}", arguments.baseline.display()))?;
    }
    let text = std::fs::read_to_string(&arguments.baseline).map_err(|error| {
        format!("cannot read {}: {error}; make it with --renew", arguments.baseline.display())
    })?;
    let baseline: Baseline = serde_json::from_str(&text)?;
    let exceeded = print(&found, &baseline);
    match exceeded.as_slice() {
        [] => Ok(()),
        paths if arguments.check => Err(format!(
            "more instructions than the baseline allows: {}. Make them fewer; or, if they are \
             worth it, renew the baseline with --renew and say why in the commit",
            paths.join(", ")
        )
        .into()),
        _ => Ok(()),
    }
}

/// Prints what was found beside the baseline; returns the paths that exceed it.
fn print(found: &Baseline, baseline: &Baseline) -> Vec<String> {
    println!("Instructions per call in user space, client and server together.\n");
    println!("| path | now | baseline | now / baseline |");
    println!("| --- | ---: | ---: | ---: |");
    let mut exceeded = Vec::new();
    for (path, costs) in found {
        let Some(before) = baseline.get(path) else {
            println!("| {path} | {:.0} | – | – |", costs.instructions);
            exceeded.push(path.clone());
            continue;
        };
        let ratio = costs.instructions / before.instructions;
        println!(
            "| {path} | {:.0} | {:.0} | {ratio:.3} |",
            costs.instructions, before.instructions
        );
        if ratio.is_nan() || ratio > BOUND {
            exceeded.push(path.clone());
        }
    }
    println!();
    exceeded
}

fn costs(path: Path, in_flight: usize, counting: &Program) -> Result<Costs, Box<dyn Error>> {
    let [once, twice] = [CALLS, 2 * CALLS].map(|calls| instructions(path, in_flight, calls));
    let instructions = ((twice? - once?) / CALLS as f64).round();
    let [once, twice] = [CALLS, 2 * CALLS].map(|calls| {
        let output = arguments(&mut counting.command(), path, in_flight, calls).output()?;
        Ok::<Counted, Box<dyn Error>>(serde_json::from_slice(&output.stdout)?)
    });
    Ok(difference(once?, twice?, instructions))
}

fn instructions(path: Path, in_flight: usize, calls: usize) -> Result<f64, Box<dyn Error>> {
    let mut valgrind = valgrind();
    valgrind.arg(std::env::current_exe()?);
    let output = arguments(&mut valgrind, path, in_flight, calls).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = collected(&said).filter(|_| output.status.success());
    collected.ok_or_else(|| format!("valgrind ended with {}: {said}", output.status).into())
}

fn arguments(command: &mut Command, path: Path, in_flight: usize, calls: usize) -> &mut Command {
    use clap::ValueEnum as _;
    let path = path.to_possible_value().expect("no path is hidden");
    command.args(["hot-path", "--path", path.get_name()]);
    command.args(["--in-flight", &in_flight.to_string(), "--calls", &calls.to_string()])
}

fn has_valgrind() -> Result<(), Box<dyn Error>> {
    if can_count() {
        return Ok(());
    }
    Err("valgrind is not here; install it (on Debian: apt-get install valgrind)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(instructions: f64) -> Baseline {
        let costs = Costs {
            instructions,
            allocations: 4.0,
            bytes_to_server: 41.0,
            bytes_to_client: 7.0,
            writes: 1.0,
        };
        Baseline::from([("plain at 1".to_owned(), costs)])
    }

    #[test]
    fn what_exceeds_the_bound_is_named_and_what_does_not_is_not() {
        assert_eq!(print(&baseline(1050.0), &baseline(1000.0)), Vec::<String>::new());
        assert_eq!(print(&baseline(1051.0), &baseline(1000.0)), ["plain at 1"]);
        assert_eq!(print(&baseline(f64::NAN), &baseline(1000.0)), ["plain at 1"]);
        assert_eq!(print(&baseline(1000.0), &Baseline::new()), ["plain at 1"]);
    }
}
