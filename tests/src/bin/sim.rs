//! Whole worlds from seeds, with faults everywhere, checked.
//!
//! ```text
//! cargo run --release -p rpc-tests --bin sim -- --seeds 10000
//! ```

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rpc_tests::sim::{self, Plan, Settings, Shrunk, Totals, Violation};

/// Runs worlds of clients, servers, network and store from seeds, with faults everywhere, and checks
/// that every call took effect as its caller was told.
///
/// A seed is a world, always the same one, on virtual time. When a world breaks a rule, its seed is
/// printed, with a smaller plan that breaks the same rule, and a sequence diagram of that (mermaid;
/// <https://mermaid.live> shows it). `--seed` replays one seed and prints all that happened.
///
/// Fails too when the run has not shown enough: each pair of a fault and a step of the protocol must
/// have met, half of the calls must have succeeded, and records, stages and fences must have been
/// needed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds are run.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many threads run them; each world has one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// Replays this one seed and prints its plan, its figures and, with --trace, its diagram.
    #[arg(long, conflicts_with_all = ["seeds", "from", "jobs", "replay_check"])]
    seed: Option<u64>,
    /// Prints the sequence diagram of a replayed seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Runs this many seeds twice and compares the hashes of all that happened; nothing else.
    #[arg(long, conflicts_with = "seeds", value_parser = clap::value_parser!(u64).range(1..))]
    replay_check: Option<u64>,
    /// How many worlds may be run to make a failure smaller.
    #[arg(long, default_value_t = 2_000)]
    shrink: u32,
    /// Prints how often each fault struck in each step.
    #[arg(long)]
    table: bool,
    /// Passes even if not every pair of fault and step was hit: for runs that are too short.
    #[arg(long)]
    partial: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (arguments.seed, arguments.replay_check) {
        (Some(seed), _) => replay(seed, &arguments),
        (None, Some(count)) => compare(count, &arguments),
        (None, None) => search(&arguments),
    }
}

/// Runs one seed and prints it.
fn replay(seed: u64, arguments: &Arguments) -> ExitCode {
    let plan = Plan::of(seed);
    println!("{plan}");
    let outcome = sim::run_plan(&plan, &Settings::default().record(arguments.trace));
    if arguments.trace {
        println!("{}", outcome.diagram);
    }
    println!("{:#?}\nhash {:016x}", outcome.figures, outcome.hash);
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            report(seed, &violation, arguments);
            ExitCode::FAILURE
        }
    }
}

/// Runs seeds twice.
fn compare(count: u64, arguments: &Arguments) -> ExitCode {
    let settings = Settings::default();
    let differs = |seed: &u64| sim::run(*seed, &settings).hash != sim::run(*seed, &settings).hash;
    let seeds = arguments.from..arguments.from.saturating_add(count);
    let different: Vec<u64> = seeds.filter(differs).collect();
    println!("{count} seeds run twice, {} differ", different.len());
    if different.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("the first: {:?}", &different[..different.len().min(10)]);
    ExitCode::FAILURE
}

/// Runs seeds until one fails, or to the end.
fn search(arguments: &Arguments) -> ExitCode {
    let (began, worked_before) = (Instant::now(), processor_time());
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let bar = progress(arguments.seeds);
    let work = || {
        let mut totals = Totals::default();
        let mut found = None;
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= arguments.seeds {
                break;
            }
            let seed = arguments.from.wrapping_add(number);
            let outcome = sim::run(seed, &Settings::default());
            totals.add(&outcome);
            bar.inc(1);
            if let Some(violation) = outcome.violation {
                failed.store(true, Ordering::Relaxed);
                found = Some((seed, violation));
            }
        }
        (totals, found)
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("worlds contain their panics"))
            .collect()
    });
    bar.finish_and_clear();
    let took = [began.elapsed(), processor_time().saturating_sub(worked_before)];
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    for (its, found) in ended {
        totals.merge(&its);
        failures.extend(found);
    }
    if arguments.table {
        println!("{}", totals.coverage);
    }
    for (seed, violation) in &failures {
        report(*seed, violation, arguments);
    }
    let is_enough = conclude(&totals, took, failures.len(), arguments.partial);
    if is_enough && failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The processor time of this process so far: unlike the clock, it does not count what others do.
#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(unix))]
fn processor_time() -> Duration {
    Duration::ZERO
}

/// Prints the figures. Returns whether the run has shown enough.
fn conclude(totals: &Totals, took: [Duration; 2], failures: usize, partial: bool) -> bool {
    let lacks = totals.lacks();
    if failures == 0 && !partial {
        lacks.iter().for_each(|lack| println!("not enough: {lack}"));
    }
    let [per_second, per_second_of_work] =
        took.map(|took| totals.worlds as f64 / took.as_secs_f64());
    println!(
        "{totals}, {failures} violations, {per_second:.0} worlds/s, {per_second_of_work:.0} in a \
         second of processor time"
    );
    partial || lacks.is_empty()
}

/// Prints a failure, smaller if it can be.
fn report(seed: u64, violation: &Violation, arguments: &Arguments) {
    println!("seed {seed} breaks a rule: {}\n  {}\n", violation.rule, violation.detail);
    let plan = Plan::of(seed);
    let Some(Shrunk { plan, violation, worlds }) =
        sim::shrink(&plan, &Settings::default(), arguments.shrink)
    else {
        println!("and does not when it is run again: something in it is not repeatable");
        return;
    };
    println!("the smallest plan of {worlds} that breaks it too: {}\n", violation.detail);
    let outcome = sim::run_plan(&plan, &Settings::default().record(true));
    println!("{plan}\n```mermaid\n{}```\n", outcome.diagram);
    println!("replay it: cargo run --release -p rpc-tests --bin sim -- --seed {seed} --trace");
}

/// A bar on a terminal, nothing elsewhere.
fn progress(seeds: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} worlds, {per_sec}, {eta} left");
    bar.set_style(style.expect("the template is well-formed"));
    bar
}
