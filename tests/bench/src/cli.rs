//! The command line.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

#[cfg(feature = "failover")]
use crate::failover;
use crate::hot_path::Path;
use crate::work::Contender;
use crate::{build_cost, durable, growth, guard, restate, table, tail, usage, work};

/// Measures this system beside its peers and beside the limit.
///
/// Every figure is taken over TCP loopback, with the client and the server in processes of their
/// own, pinned to a core each. Run it with `--release`, and on a machine that has nothing else to
/// do; figures of one run compare with each other, not with those of another.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs all contenders in interleaved rounds; prints tables as Markdown, draws a plot.
    Table(table::Arguments),
    /// Measures group commit of the embedded store beside its engine, batched by hand.
    Durable(durable::Arguments),
    /// Counts the instructions of the hot paths with valgrind, beside a committed baseline.
    Instructions(guard::Arguments),
    /// Measures what grows: connections, documents, kept records; and the server's memory.
    Growth(growth::Arguments),
    /// Serves writes from a store that is filled beforehand.
    #[command(hide = true)]
    ServeFilled {
        #[arg(long)]
        durable: bool,
        #[arg(long)]
        accounts: u64,
        #[arg(long)]
        records: u64,
        #[arg(long)]
        core: usize,
    },
    /// As `load`, with many connections.
    #[command(hide = true)]
    Crowd(growth::crowd::Arguments),
    /// Measures the tail: a server that is slow at times, hedged; and twice too many calls.
    Tail(tail::Arguments),
    /// Measures how long a server's death is noticed by its callers.
    #[cfg(feature = "failover")]
    Failover(failover::Arguments),
    /// Serves the documents of a store that servers share; prints its address.
    #[cfg(feature = "failover")]
    #[command(hide = true)]
    ServeDocuments,
    /// Serves writes on such a store.
    #[cfg(feature = "failover")]
    #[command(hide = true)]
    ServeShared {
        #[arg(long)]
        address: String,
        #[arg(long)]
        documents: String,
        #[arg(long)]
        number: u64,
    },
    /// Measures writes beside Restate, whose server npm has installed.
    Restate(restate::Arguments),
    /// Builds a minimal service from nothing, beside tarpc's: seconds and crates.
    BuildCost(build_cost::Arguments),
    /// Runs a hot path within this process; prints what it counted. (What valgrind looks at.)
    #[command(hide = true)]
    HotPath {
        #[arg(long)]
        path: Path,
        #[arg(long)]
        in_flight: usize,
        #[arg(long)]
        calls: usize,
    },
    /// Serves one contender; prints its address, and what it has used whenever it reads a line.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        contender: Contender,
        #[arg(long)]
        core: usize,
    },
    /// Loads a server: says that it is warm, and for each line with milliseconds, prints figures as JSON.
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
        warm_up_millis: u64,
    },
}

/// The whole program.
pub fn run() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Table(arguments) => table::run(&arguments),
        Command::Durable(arguments) => durable::run(&arguments),
        Command::Growth(arguments) => growth::run(&arguments),
        Command::ServeFilled { durable, accounts, records, core } => {
            pin(core);
            usage::tell_when_asked();
            runtime()?.block_on(growth::server::serve(durable, accounts, records))
        }
        Command::Crowd(arguments) => {
            pin(arguments.core);
            local_runtime()?.block_on(growth::crowd::run(&arguments))
        }
        #[cfg(feature = "failover")]
        Command::Failover(arguments) => failover::run(&arguments),
        #[cfg(feature = "failover")]
        Command::ServeDocuments => {
            usage::tell_when_asked();
            runtime()?.block_on(failover::store::serve())
        }
        #[cfg(feature = "failover")]
        Command::ServeShared { address, documents, number } => {
            usage::tell_when_asked();
            runtime()?.block_on(failover::serve(&address, &documents, number))
        }
        Command::Restate(arguments) => restate::run(&arguments),
        Command::BuildCost(arguments) => build_cost::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Instructions(arguments) => guard::run(&arguments),
        Command::HotPath { path, in_flight, calls } => {
            let counted = guard::count(path, in_flight, calls)?;
            println!("{}", serde_json::to_string(&counted)?);
            Ok(())
        }
        Command::Serve { contender, core } => {
            pin(core);
            usage::tell_when_asked();
            runtime()?.block_on(work::serve(contender))
        }
        Command::Load { contender, core, address, in_flight, warm_up_millis } => {
            pin(core);
            let warm_up = Duration::from_millis(warm_up_millis);
            local_runtime()?.block_on(work::load(contender, &address, in_flight, warm_up))
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A client's runtime: its tasks need not be `Send`, and all of them have one queue, as those of a
/// program that spawns them in the usual way.
pub(crate) fn local_runtime() -> std::io::Result<tokio::runtime::LocalRuntime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())
}

/// Keeps this process on one core. A machine that refuses is measured as it is.
fn pin(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
        eprintln!("not pinned to core {core}: {error}");
    }
}
