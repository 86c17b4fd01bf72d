//! Runs what `cargo mutants` lists, without a build for each mutant.
//!
//! ```text
//! cargo run --release -p rpc-mutants -- --help
//! ```

mod build;
mod judge;
mod ledger;
mod list;
mod reach;
mod run;
mod tree;
mod weave;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Asks of each mutant that `cargo mutants` lists whether a test notices it.
///
/// All mutants are woven into one copy of the sources, each behind a switch, and built once. Each test
/// is run once with all switches off, to learn which mutants it comes by. Then each mutant is switched
/// on, and the tests that come by it are run, the short ones first, until one fails.
///
/// What is known is kept in `target/mutants`. A mutant is asked about again if its verdict was that no
/// test notices it, or with `--again`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only mutants of files whose path contains this. May be repeated.
    #[arg(long, value_name = "TEXT")]
    file: Vec<String>,
    /// Only mutants whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Asks only the tests of this package. May be repeated.
    #[arg(long, value_name = "NAME", default_values = ["rpc-runtime", "rpc-tests"])]
    package: Vec<String>,
    /// Begins no mutant after so many minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 60.0)]
    minutes: f64,
    /// Leaves tests out that take longer than this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    longest: f64,
    /// So many mutants at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    workers: usize,
    /// Begins nothing while this file exists, for a machine on which others measure.
    #[arg(long, value_name = "PATH")]
    pause: Option<PathBuf>,
    /// Asks about mutants whose verdict is known, too.
    #[arg(long)]
    again: bool,
    /// Only says what is known.
    #[arg(long)]
    report: bool,
}

fn main() -> ExitCode {
    match work(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all that was asked about was noticed, or is accounted for.
fn work(arguments: &Arguments) -> Result<bool, String> {
    let place = PathBuf::from("target/mutants");
    let mut ledger = ledger::Ledger::open(&place)?;
    let listed = list::mutants()?;
    if let Some(path) = &arguments.pause {
        run::PAUSE.get_or_init(|| path.clone());
    }
    if !arguments.report {
        let known = if arguments.again { HashMap::new() } else { ledger.known_unbuilt(&listed) };
        let woven = build::woven(&place, &listed, &arguments.package, known)?;
        ledger.unbuilt(&listed, &woven.refused)?;
        let settings = judge::Settings {
            budget: Duration::from_secs_f64(arguments.minutes * 60.0),
            longest: Duration::from_secs_f64(arguments.longest),
            workers: arguments.workers,
        };
        let reach = reach::Reach::measure(&woven, settings.longest, &place)?;
        let wanted = |mutant: &list::Mutant| {
            let file = &mutant.file;
            (arguments.file.is_empty() || arguments.file.iter().any(|part| file.contains(part)))
                && arguments.only.as_ref().is_none_or(|text| mutant.name.contains(text))
                && (arguments.again || ledger.is_open(mutant))
        };
        let asked: Vec<_> = listed
            .iter()
            .filter(|mutant| woven.switches.contains(&mutant.id) && wanted(mutant))
            .collect();
        judge::judge(&asked, &reach, settings, &place, |mutant, verdict| {
            ledger.enter(mutant, verdict)
        })?;
    }
    ledger.report(&listed)
}
