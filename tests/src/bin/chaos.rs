//! Real processes of the bank, killed, frozen, and on disks that fail: see `rpc_tests::chaos`.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("error: chaos sends signals to processes, which only Unix has");
    ExitCode::from(2)
}

#[cfg(unix)]
mod unix {
    use std::io::IsTerminal as _;
    use std::path::Path;
    use std::process::ExitCode;
    use std::time::{Duration, Instant};

    use clap::{Parser, Subcommand, ValueEnum};
    use rpc_tests::chaos::client::ClientArgs;
    use rpc_tests::chaos::serve::ServeArgs;
    use rpc_tests::chaos::{
        self, Enumeration, Failed, FaultAt, Report, Storm, power_cuts, strace_works,
    };
    use tokio::runtime::{Builder, Runtime};

    /// Real processes of the bank, with real faults: servers and clients that are killed with kill -9
    /// and frozen with SIGSTOP, a server killed at every system call of a short script, a disk that is
    /// full or fails, and power cuts that lose all that was not synced.
    ///
    /// Each client writes down its calls; in the end the statements are read back. It is a violation
    /// if a call stands there more or less often than its caller was told, if money was made or
    /// destroyed, if no one order of all calls explains what they and the reads have seen, or if a
    /// client does not come to an end once nothing goes wrong any more.
    #[derive(Debug, Parser)]
    #[command(
        name = "chaos",
        version,
        after_long_help = EXAMPLES,
        args_conflicts_with_subcommands = true,
        disable_help_subcommand = true,
        max_term_width = 100
    )]
    struct Cli {
        #[command(subcommand)]
        process: Option<Process>,
        /// How long the storms rage in all, in minutes
        #[arg(long, value_name = "MINUTES", default_value_t = 0.5, value_parser = minutes)]
        minutes: f64,
        /// What random choices are drawn from; their effects depend on the moment, too
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Strike at every how many-th system call only
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        every: u16,
        /// Only these parts; may be given several times
        #[arg(long, value_name = "PART")]
        only: Vec<Part>,
        /// A store that servers share, for the storm on one: couchbase://user:password@host/bucket.
        /// Default: a test node in this process, which makes things go wrong as well
        #[arg(long, value_name = "URL")]
        store: Option<String>,
        /// How many client processes there are
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
        clients: u16,
        /// How many calls each client has under way at once
        #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
        in_flight: u16,
        /// How many accounts money moves among
        #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(2..=1000))]
        accounts: u16,
    }

    const EXAMPLES: &str = "\
Examples:
  chaos                                all parts, some three minutes
  chaos --minutes 60 --only storm      an hour of storm on the embedded store
  chaos --every 10                     a tenth of the system calls
  chaos --only store-kills --only power-cuts

Parts: storm (embedded store), shared-storm (three servers on one store; needs --features couchbase),
store-kills, socket-kills, full-disk, failed-syncs, power-cuts (these need strace and Linux).

Exit codes: 0 all is right, 1 a violation, 2 a flag cannot be used or a part could not be run.";

    #[derive(Debug, Subcommand)]
    enum Process {
        /// A server process
        #[command(hide = true)]
        Serve(ServeArgs),
        /// A client process
        #[command(hide = true)]
        Client(ClientArgs),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
    enum Part {
        Storm,
        SharedStorm,
        StoreKills,
        SocketKills,
        FullDisk,
        FailedSyncs,
        PowerCuts,
    }

    const ALL: [Part; 7] = [
        Part::Storm,
        Part::SharedStorm,
        Part::StoreKills,
        Part::SocketKills,
        Part::FullDisk,
        Part::FailedSyncs,
        Part::PowerCuts,
    ];

    pub(super) fn main() -> ExitCode {
        let cli = Cli::parse();
        let mut builder = match &cli.process {
            Some(Process::Serve(args)) if args.one_thread => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        let runtime = match builder.enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return unusable(&Failed(error.to_string())),
        };
        let ended = match cli.process {
            Some(Process::Serve(args)) => runtime.block_on(chaos::serve::run(args)),
            Some(Process::Client(args)) => runtime.block_on(chaos::client::run(args)),
            None => return judge(&cli, &runtime),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => unusable(&failed),
        }
    }

    fn unusable(failed: &Failed) -> ExitCode {
        eprintln!("error: {failed}");
        ExitCode::from(2)
    }

    /// Runs the parts, and says what came of them.
    fn judge(cli: &Cli, runtime: &Runtime) -> ExitCode {
        let since = Instant::now();
        let parts = if cli.only.is_empty() { ALL.to_vec() } else { cli.only.clone() };
        let (mut done, mut skipped, mut violations) = (Vec::new(), Vec::new(), 0);
        for part in &parts {
            let begun = Instant::now();
            if std::io::stderr().is_terminal() {
                eprintln!("{part:?} ...");
            }
            let report = match run(*part, &parts, cli, runtime) {
                Ok(report) => report,
                Err(Trouble::Skipped(why)) if cli.only.is_empty() => {
                    println!("{part:?} is skipped: {why}");
                    skipped.push(format!("{part:?}"));
                    continue;
                }
                Err(Trouble::Skipped(why)) => return unusable(&Failed(why)),
                Err(Trouble::Failed(failed)) => {
                    return unusable(&Failed(format!("{part:?} could not be run: {failed}")));
                }
            };
            println!("{report} ({:.1} s)", begun.elapsed().as_secs_f64());
            for wrong in &report.wrong {
                println!("  VIOLATION: {wrong}");
            }
            violations += report.wrong.len();
            done.push(report);
        }
        let sum = |what: &str| done.iter().map(|report| report.figure(what)).sum::<u64>();
        let skipped = match skipped[..] {
            [] => String::new(),
            _ => format!(", skipped {}", skipped.join(" ")),
        };
        println!(
            "chaos: {violations} violations in {} parts: {} calls ({} done, {} unknown), {} kills, \
             {} freezes, {} faults, {} power cuts, seed {}, {:.0} s{skipped}",
            done.len(),
            sum("calls"),
            sum("done"),
            sum("unknown"),
            sum("kills"),
            sum("freezes"),
            sum("faults"),
            sum("power cuts"),
            cli.seed,
            since.elapsed().as_secs_f64(),
        );
        if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Why there is no report.
    enum Trouble {
        Failed(Failed),
        /// It cannot be run here.
        Skipped(String),
    }

    impl From<Failed> for Trouble {
        fn from(failed: Failed) -> Trouble {
            Trouble::Failed(failed)
        }
    }

    fn run(part: Part, parts: &[Part], cli: &Cli, runtime: &Runtime) -> Result<Report, Trouble> {
        let program = std::env::current_exe().map_err(|error| Failed(error.to_string()))?;
        let enumerate = |fault| {
            strace_works().map_err(Trouble::Skipped)?;
            let mut enumeration = Enumeration::new(program.clone(), fault);
            enumeration.every = usize::from(cli.every);
            Ok(enumeration.run(runtime)?)
        };
        match part {
            Part::Storm => Ok(storm(&program, parts, cli).on_embedded(runtime)?),
            Part::SharedStorm => shared_storm(&storm(&program, parts, cli), cli, runtime),
            Part::StoreKills => enumerate(FaultAt::StoreKill),
            Part::SocketKills => enumerate(FaultAt::SocketKill),
            Part::FullDisk => enumerate(FaultAt::FullDisk),
            Part::FailedSyncs => enumerate(FaultAt::FailedSync),
            Part::PowerCuts => {
                strace_works().map_err(Trouble::Skipped)?;
                Ok(power_cuts(&program, runtime)?)
            }
        }
    }

    /// The storms share the time.
    fn storm(program: &Path, parts: &[Part], cli: &Cli) -> Storm {
        let storms = parts.iter().filter(|part| matches!(part, Part::Storm | Part::SharedStorm));
        let storms = if cfg!(feature = "couchbase") { storms.count() } else { 1 };
        let time = Duration::from_secs_f64(cli.minutes * 60.0 / storms.max(1) as f64);
        let mut storm = Storm::new(program.to_owned(), time, cli.seed);
        storm.clients = usize::from(cli.clients);
        storm.in_flight = usize::from(cli.in_flight);
        storm.accounts = cli.accounts;
        storm
    }

    #[cfg(feature = "couchbase")]
    fn shared_storm(storm: &Storm, cli: &Cli, runtime: &Runtime) -> Result<Report, Trouble> {
        use rpc_tests::node::{Effect, Fault, Node, NodeConfig, On};

        if let Some(url) = &cli.store {
            return Ok(storm.on_shared(url, runtime)?);
        }
        let mut config = NodeConfig::default();
        config.data_servers = 2;
        config.seed = cli.seed;
        let node = runtime.block_on(Node::start(config));
        let node = node.map_err(|error| Failed(format!("no ports for the test node: {error}")))?;
        for fault in [
            Fault::new(Effect::Ambiguous { applied: true }).on(On::Writes).chance(0.01),
            Fault::new(Effect::Ambiguous { applied: false }).on(On::Writes).chance(0.01),
            Fault::new(Effect::WriteInProgress).on(On::Writes).chance(0.02),
            Fault::new(Effect::Cut { applied: true }).on(On::Writes).chance(0.005),
            Fault::new(Effect::NotMyVbucket).chance(0.01),
        ] {
            node.faults().add(fault);
        }
        Ok(storm.on_shared(&node.full_url(), runtime)?)
    }

    #[cfg(not(feature = "couchbase"))]
    fn shared_storm(_: &Storm, _: &Cli, _: &Runtime) -> Result<Report, Trouble> {
        Err(Trouble::Skipped("built without shared stores: --features couchbase".to_owned()))
    }

    fn minutes(text: &str) -> Result<f64, String> {
        match text.parse::<f64>() {
            Ok(minutes) if (0.01..=10_000.0).contains(&minutes) => Ok(minutes),
            _ => Err("write minutes as 0.5 or 60, between 0.01 and 10000".to_owned()),
        }
    }
}
