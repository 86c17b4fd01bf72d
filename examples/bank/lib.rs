//! The bank that survives: `cargo run --release --example bank -- --help`.

mod cli;
mod frames;
mod history;
mod plan;
mod proxy;
mod report;
mod units;
mod verdict;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line; the exit code is what `--help` says.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match cli::parse(arguments) {
        Ok(_) => ExitCode::SUCCESS,
        Err(cli::NoRun::Help(help)) => {
            print!("{help}");
            ExitCode::SUCCESS
        }
        Err(cli::NoRun::Wrong(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}
