//! Crashes servers at every point of every kind of call.
//!
//! ```text
//! cargo run --release -p rpc-tests --bin crash-points -- --help
//! ```

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use indicatif::ProgressBar;
use rpc_tests::crash_points::{Blow, Case, Counts, Report, Settings, explore, replay};

/// Crashes a server before and after every step (store operation, frame) of every kind of call; then
/// the server that takes over, too, at every step (pairs); and for a transfer the next one again
/// (triples). Enumerated, not sampled: a first run counts the steps, then each point is run.
///
/// After each run the call must have taken effect exactly once, or never if its caller was told so;
/// every retry gets the same bytes; nothing is half done; no stage, and once its session is over no
/// record, is left; and everything ends within a bound of virtual time.
///
/// At single points, a server is also made to stand still and come back, the caller to drop its
/// call, and the store and the network to be in trouble. Commits are dropped at every await, and the
/// power of the embedded store's disk is cut at every write and sync.
///
/// A violation names the run that shows it: `--replay transfer:17,4` is the transfer with a crash at
/// point 17 (after step 8: even points lie before a step, odd ones after it) and one at point 4 of
/// what came after that.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these: a kind of call (read, write, error, error-on-retry, transfer, guarded, delete,
    /// anchorless, aborted, given-up, slow, overtaken, failed-over, acknowledged, session, collection), `dropped` for commits that
    /// are dropped, or `power` for the disk of the embedded store. May be repeated.
    #[arg(long, value_name = "CASE", value_parser = part)]
    only: Vec<Part>,
    /// Only this, instead of all that can happen at a point: crash, stall, drop, trouble or
    /// outlive. May be
    /// repeated.
    #[arg(long, value_name = "BLOW", value_parser = blow)]
    blow: Vec<Blow>,
    /// The most pairs of each kind; 0 for none. A kind that has more is said to be cut short.
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    pairs: u64,
    /// The most triples of a transfer; 0 for none.
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    triples: u64,
    /// Runs one place again, and says whether it holds.
    #[arg(long, value_name = "PLACE")]
    replay: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Case(Case),
    Dropped,
    Power,
}

fn part(text: &str) -> Result<Part, String> {
    match text {
        "dropped" => Ok(Part::Dropped),
        "power" => Ok(Part::Power),
        case => case.parse().map(Part::Case).map_err(|error| format!("{error}, dropped, power")),
    }
}

fn blow(text: &str) -> Result<Blow, String> {
    let known = Blow::ALL.into_iter().find(|blow| blow.name() == text);
    known.ok_or_else(|| "there are crash, stall, drop, trouble, outlive".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(place) = &arguments.replay {
        return match replay(place) {
            Ok(held) => {
                println!("{held}");
                ExitCode::SUCCESS
            }
            Err(violation) => {
                eprintln!("violated at {violation}");
                ExitCode::FAILURE
            }
        };
    }
    let settings = settings(&arguments);
    let began = Instant::now();
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new_spinner();
    let explored = explore(&settings, |place| {
        bar.inc(1);
        if bar.position().is_multiple_of(64) {
            bar.set_message(format!("{} runs, at {place}", bar.position()));
        }
    });
    bar.finish_and_clear();
    let runs = bar.position();
    let report = match explored {
        Ok(report) => report,
        Err(violation) => {
            eprintln!("violated at {violation}");
            eprintln!("to see it again: --replay {}", violation.place);
            return ExitCode::FAILURE;
        }
    };
    print(&report);
    let gaps = report.gaps(&settings);
    let total = report.total();
    println!(
        "crash-points: {} points, {} pairs, {} triples of crashes, {} other blows, {runs} runs, 0 violations, {:.1} s",
        total.points,
        total.pairs,
        total.triples,
        total.others,
        began.elapsed().as_secs_f64(),
    );
    if gaps.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("not one run of: {}", gaps.join("; "));
    ExitCode::FAILURE
}

fn settings(arguments: &Arguments) -> Settings {
    let mut settings = Settings::all();
    (settings.pairs, settings.triples) = (arguments.pairs, arguments.triples);
    if !arguments.blow.is_empty() {
        settings.blows.clone_from(&arguments.blow);
    }
    if !arguments.only.is_empty() {
        settings.cases.retain(|case| arguments.only.contains(&Part::Case(*case)));
        settings.dropped = arguments.only.contains(&Part::Dropped);
        settings.power = arguments.only.contains(&Part::Power);
    }
    settings
}

fn print(report: &Report) {
    println!("| kind | steps | points | pairs | triples | other blows |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let cases = report.cases.iter().map(|(case, counts)| (case.name(), counts));
    let parts = [("dropped commits", &report.dropped), ("power cuts", &report.power)];
    for (name, counts) in cases.chain(parts) {
        let Counts { steps, points, pairs, triples, others, is_cut } = *counts;
        if points + others > 0 {
            let cut = if is_cut { " (cut short)" } else { "" };
            println!("| {name}{cut} | {steps} | {points} | {pairs} | {triples} | {others} |");
        }
    }
    let hit: Vec<String> = report
        .hit
        .iter()
        .map(|((step, side), count)| format!("{side:?} {step:?} {count}").to_lowercase())
        .collect();
    println!("\nstruck: {}\n", hit.join(", "));
}
