//! The bank that survives: `cargo run --release --example bank -- --help`.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `cli.rs`, `units.rs`, `failure.rs` | the command line, and how it ends |
//! | `survive.rs` | the main job, from the first server to the verdict |
//! | `place.rs` | where the documents lie: a directory or a shared store |
//! | `plan.rs` | the fault plan: what goes wrong, out of one seed |
//! | `proxy.rs`, `frames.rs` | the bad network between a client and a server |
//! | `fleet.rs` | the servers, and their stopping and freezing |
//! | `traffic.rs` | the clients, and what they were told |
//! | `history.rs`, `read_back.rs` | what was asked, and what the statements say |
//! | `verdict.rs` | whether the two agree: a pure function |
//! | `report.rs`, `progress.rs` | the table, the JSON and the bar |
//! | `serve.rs`, `call.rs` | `bank serve` and `bank call` |
//! | `tls.rs` | TLS for these two |
#![forbid(unsafe_code)]

mod call;
mod cli;
mod failure;
mod fleet;
mod frames;
mod history;
mod place;
mod plan;
mod progress;
mod proxy;
mod read_back;
mod report;
mod serve;
mod survive;
mod tls;
mod traffic;
mod units;
mod verdict;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::{Cli, Command, NoRun};
use crate::failure::Failure;

/// Runs the command line; the exit code is one of those that `--help` lists.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match cli::parse(arguments) {
        Ok(cli) => cli,
        Err(NoRun::Help(help)) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
        Err(NoRun::Wrong(message)) => return end(&Failure::unusable(message)),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return end(&Failure::failed(format!("no threads to run on: {error}"))),
    };
    match runtime.block_on(command(cli)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => end(&failure),
    }
}

/// Whether all went right.
async fn command(cli: Cli) -> Result<bool, Failure> {
    match cli.command {
        None => survive::survive(&cli.survive).await,
        Some(Command::Serve(args)) => serve::serve(&args).await.map(|()| true),
        Some(Command::Call(args)) => call::call(args).await.map(|()| true),
    }
}

fn end(failure: &Failure) -> ExitCode {
    eprintln!("error: {failure}");
    ExitCode::from(failure.code)
}
