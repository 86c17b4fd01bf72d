//! Measures calls over TCP loopback: this system, its peers, and a hand-written limit, in one run.
//!
//! The work of every contender: request `{from: 16 bytes, to: 16 bytes, amount}`, response `{id,
//! balance}`; client and server in processes of their own, each pinned to a core, one connection.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `main.rs` | the command line |
//! | `work.rs` | the work, and the loop that loads a server |
//! | `ours.rs`, `limit.rs`, `tarpc_peer.rs` | the contenders |
//! | `table.rs` | interleaved rounds, medians, the table |

mod limit;
mod ours;
mod table;
#[cfg(feature = "peers")]
mod tarpc_peer;
mod work;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use self::work::Contender;

/// Measures this system beside its peers and beside the limit.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs all contenders in interleaved rounds and prints a table as Markdown.
    Table {
        /// Shorter rounds, and fewer of them.
        #[arg(long)]
        quick: bool,
        /// Rounds; the median of each figure is shown.
        #[arg(long)]
        rounds: Option<usize>,
    },
    /// Serves one contender; prints its address. (What `table` starts.)
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        contender: Contender,
        #[arg(long)]
        core: usize,
    },
    /// Loads a server; prints figures as JSON. (What `table` starts.)
    #[command(hide = true)]
    Load {
        #[arg(long)]
        contender: Contender,
        #[arg(long)]
        core: usize,
        #[arg(long)]
        address: String,
        #[arg(long)]
        in_flight: usize,
        #[arg(long)]
        millis: u64,
    },
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Table { quick, rounds } => table::run(quick, rounds),
        Command::Serve { contender, core } => {
            pin(core);
            runtime().block_on(work::serve(contender))
        }
        Command::Load { contender, core, address, in_flight, millis } => {
            pin(core);
            let time = Duration::from_millis(millis);
            let load = work::load(contender, &address, in_flight, time);
            let local = tokio::task::LocalSet::new();
            runtime().block_on(local.run_until(load)).map(|figures| {
                println!("{}", serde_json::to_string(&figures).expect("figures are JSON"));
            })
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives a runtime")
}

/// Keeps this process on one core. A machine that refuses is measured as it is.
fn pin(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
        eprintln!("not pinned to core {core}: {error}");
    }
}
