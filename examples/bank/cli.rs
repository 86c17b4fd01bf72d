//! The command line.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bank_business::{AccountName, Amount, PageNumber, Reference};
use clap::{Args, Parser, Subcommand};

use crate::plan::{FaultPlan, Outage, Rate};
use crate::units::{self, Every};

/// A bank whose calls happen exactly once, while everything around them fails.
#[derive(Debug, Parser)]
#[command(
    name = "bank",
    version,
    long_about = LONG_ABOUT,
    after_long_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 100,
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) survive: SurviveArgs,
}

const LONG_ABOUT: &str = "\
A bank whose calls happen exactly once, while everything around them fails.

Without a subcommand it starts several servers over one store, and many clients that move money
through a network that loses and delays messages and cuts connections, while servers stop and
freeze. At the end it reads all statements back and says whether every acknowledged movement stands
once in each account that it touched, every one reported as not executed never, and no money was
made or destroyed. If so it exits with 0, else it names each wrong movement and exits with 1.";

const EXAMPLES: &str = "\
Examples:
  bank                                    the default run, some 15 seconds
  bank --seed 7                           the faults of an earlier run again
  bank --drop 10% --cut 2% --clients 64   a much worse network
  bank --no-faults --json calm.json       what the same costs without faults

  bank serve --listen 127.0.0.1:4000 --data ./bank-data
  bank call --servers 127.0.0.1:4000 open alice
  bank call --servers 127.0.0.1:4000 deposit alice 100.00 --reference salary-march
  bank call --servers 127.0.0.1:4000 statement alice

Exit codes: 0 all is right, 1 it is not, 2 a flag, an address or a directory cannot be used.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one server, until ctrl-c
    #[command(after_long_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Make one call
    #[command(after_long_help = CALL_EXAMPLES)]
    Call(CallArgs),
}

const SERVE_EXAMPLES: &str = "\
Examples:
  bank serve --listen 127.0.0.1:4000 --data ./bank-data
  bank serve --listen 127.0.0.1:0 --data ./bank-data    any free port; it is printed
  bank serve --listen 127.0.0.1:4001 --store couchbase://bank:secret@10.0.0.1/bank
  bank serve --data ./bank-data --tls-certificate bank.pem --tls-key bank.key \\
      --tls-authorities authorities.pem

The data outlives the server: start it again on the same directory and all accounts are there. One
process at a time uses a directory; any number share a --store, whose user and password may also stand
in COUCHBASE_USER and COUCHBASE_PASSWORD. The first ctrl-c lets running calls finish, a second one
does not.

Exit codes: 0 stopped by ctrl-c, 1 the server failed, 2 a flag, the address or the directory cannot
be used.";

const CALL_EXAMPLES: &str = "\
Examples:
  bank call --servers 127.0.0.1:4000 open alice
  bank call --servers 127.0.0.1:4000 transfer alice bob 12.50 --reference rent-march
  bank call --servers 127.0.0.1:4000,127.0.0.1:4001 balance alice     either of two servers

A movement's reference stands in the statement of each account that it touched. Where you give none,
a new one is made and printed.

Exit codes: 0 done, 1 the bank refused, 2 a flag or an address cannot be used, 3 not executed,
4 unknown: look for the reference in the statement.";

#[derive(Debug, Args)]
pub(crate) struct SurviveArgs {
    /// How many servers share the store
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number(1, 16))]
    pub(crate) servers: u64,
    /// How many clients there are
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = number(1, 256))]
    pub(crate) clients: u64,
    /// How many calls each client has under way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = number(1, 64))]
    pub(crate) in_flight: u64,
    /// How many accounts they move money among
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = number(2, 10_000))]
    pub(crate) accounts: u64,
    /// How long faults and calls go on, such as 500ms, 12s or 2m
    #[arg(long, value_name = "TIME", default_value = "12s", value_parser = units::some_span)]
    pub(crate) duration: Duration,
    /// End after this many calls instead of after a time
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = number(1, 100_000_000))]
    pub(crate) calls: Option<u64>,
    /// How long a call is tried
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::some_span)]
    pub(crate) deadline: Duration,
    /// How much longer it waits to learn how the call ended; after that it is unknown
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = units::span)]
    pub(crate) grace: Duration,
    /// Where the store lies; kept afterwards. Default: a temporary directory, removed
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A shared store instead of a directory: couchbase://user:password@host/bucket
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub(crate) store: Option<String>,
    /// Write the table and the verdict to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) faults: FaultArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Faults")]
pub(crate) struct FaultArgs {
    /// Repeat the fault plan of an earlier run; it printed its seed
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// The share of messages that are lost, such as 1% or 0.01
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = units::rate)]
    pub(crate) drop: Rate,
    /// The share of messages that are late
    #[arg(long, value_name = "SHARE", default_value = "3%", value_parser = units::rate)]
    pub(crate) delay: Rate,
    /// How late a late message is at most
    #[arg(long, value_name = "TIME", default_value = "30ms", value_parser = units::span)]
    pub(crate) delay_up_to: Duration,
    /// The share of messages in which the connection is cut
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = units::rate)]
    pub(crate) cut: Rate,
    /// How often a server stops, in the mean; a time or never
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::every)]
    pub(crate) stop_every: Every,
    /// How long a stopped server is away
    #[arg(long, value_name = "TIME", default_value = "700ms", value_parser = units::some_span)]
    pub(crate) stop_for: Duration,
    /// How often a server freezes, in the mean; a time or never
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = units::every)]
    pub(crate) freeze_every: Every,
    /// How long a frozen server stands still
    #[arg(long, value_name = "TIME", default_value = "1500ms", value_parser = units::some_span)]
    pub(crate) freeze_for: Duration,
    /// Nothing goes wrong
    #[arg(long)]
    pub(crate) no_faults: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Where the store lies; made if it is not there
    #[arg(long, value_name = "DIR", required_unless_present = "store")]
    pub(crate) data: Option<PathBuf>,
    /// A store shared with other servers, instead: couchbase://user:password@host/bucket
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub(crate) store: Option<String>,
    /// How long running calls may take to finish after ctrl-c
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::span)]
    pub(crate) grace: Duration,
    /// How long a connection may be silent before it is given up
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = units::some_span)]
    pub(crate) idle: Duration,
    /// How long the calls of a client without a connection are remembered
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = units::some_span)]
    pub(crate) detached: Duration,
    /// Say what happens, call by call
    #[arg(long, short)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The servers, any of which may serve the call
    #[arg(
        long,
        value_name = "ADDR,...",
        default_value = "127.0.0.1:4000",
        value_delimiter = ',',
        value_parser = address
    )]
    pub(crate) servers: Vec<SocketAddr>,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::some_span)]
    pub(crate) deadline: Duration,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// The name in the servers' certificates; without it, the address that each is called at
    #[arg(long, value_name = "NAME", requires = "tls_certificate", help_heading = "TLS")]
    pub(crate) tls_server: Option<String>,
    #[command(subcommand)]
    pub(crate) call: CallCommand,
}

/// Files for TLS: all or none.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// This end's certificate, as PEM; with it, both ends show who they are
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_authorities"])]
    tls_certificate: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The certificates of those who vouch for the other end, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_authorities: Option<PathBuf>,
}

/// What TLS needs.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "tls"), allow(dead_code))]
pub(crate) struct TlsFiles<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
    pub(crate) authorities: &'a Path,
}

impl TlsArgs {
    /// The files, if TLS is asked for.
    pub(crate) fn files(&self) -> Option<TlsFiles<'_>> {
        Some(TlsFiles {
            certificate: self.tls_certificate.as_deref()?,
            key: self.tls_key.as_deref()?,
            authorities: self.tls_authorities.as_deref()?,
        })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum CallCommand {
    /// Open an account
    Open {
        /// Its name: 1 to 64 of a-z, 0-9, '.', '_' and '-'
        name: AccountName,
        #[command(flatten)]
        reference: ReferenceArg,
    },
    /// Bring money into an account
    Deposit {
        /// The account
        name: AccountName,
        /// How much, such as 12 or 12.50
        amount: Amount,
        #[command(flatten)]
        reference: ReferenceArg,
    },
    /// Take money out of an account
    Withdraw {
        /// The account
        name: AccountName,
        /// How much, such as 12 or 12.50
        amount: Amount,
        #[command(flatten)]
        reference: ReferenceArg,
    },
    /// Move money from one account to another
    Transfer {
        /// The account that pays
        from: AccountName,
        /// The account that is paid
        to: AccountName,
        /// How much, such as 12 or 12.50
        amount: Amount,
        #[command(flatten)]
        reference: ReferenceArg,
    },
    /// What an account holds
    Balance {
        /// The account
        name: AccountName,
    },
    /// All movements of an account, oldest first
    Statement {
        /// The account
        name: AccountName,
        /// Only this page
        #[arg(long, value_name = "N")]
        page: Option<PageNumber>,
    },
    /// Close an empty account for ever
    Close {
        /// The account
        name: AccountName,
        #[command(flatten)]
        reference: ReferenceArg,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReferenceArg {
    /// Your name for the movement; it will stand in the statement
    #[arg(long, value_name = "TEXT")]
    pub(crate) reference: Option<Reference>,
}

impl FaultArgs {
    /// The plan that the flags make, with a seed of its own where none is given.
    pub(crate) fn plan(&self) -> FaultPlan {
        // Six digits are easily typed again.
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        if self.no_faults {
            return FaultPlan::calm(seed);
        }
        let outage = |every: Every, length| every.0.map(|every| Outage { every, length });
        FaultPlan {
            seed,
            drop: self.drop,
            delay: self.delay,
            delay_up_to: self.delay_up_to,
            cut: self.cut,
            stop: outage(self.stop_every, self.stop_for),
            freeze: outage(self.freeze_every, self.freeze_for),
        }
    }
}

/// What to print instead of running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoRun {
    /// Help or version, for stdout.
    Help(String),
    /// What is wrong with the command line, on one line.
    Wrong(String),
}

/// Reads the command line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, NoRun> {
    Cli::try_parse_from(arguments).map_err(|error| match error.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => {
            NoRun::Help(error.render().to_string())
        }
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => NoRun::Wrong(
            "say which call, such as `bank call balance alice` (see `bank call --help`)".to_owned(),
        ),
        _ => NoRun::Wrong(one_line(&error.render().to_string())),
    })
}

/// What clap says on several lines, without the usage that it repeats each time.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let said: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    format!("{} (see --help)", said.strip_prefix("error: ").unwrap_or(&said))
}

fn number(least: u64, most: u64) -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(least..=most)
}

/// An address as a flag writes it: `HOST:PORT`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = "write an address as HOST:PORT, such as 127.0.0.1:4000";
    let mut found = text.to_socket_addrs().map_err(|error| match text.parse::<SocketAddr>() {
        Ok(_) => error.to_string(),
        Err(_) if text.contains(':') => format!("{error}; {wrong}"),
        Err(_) => wrong.to_owned(),
    })?;
    found.next().ok_or_else(|| format!("the name has no address; {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, NoRun> {
        let words = std::iter::once("bank").chain(line.split_whitespace());
        parse(words.map(std::ffi::OsString::from))
    }

    fn wrong(line: &str) -> String {
        match read(line) {
            Err(NoRun::Wrong(message)) => message,
            other => panic!("`{line}` gave {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_made() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn no_arguments_are_the_main_job() {
        let cli = read("").unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.survive.servers, 3);
        let plan = cli.survive.faults.plan();
        assert!(plan.stop.is_some() && plan.freeze.is_some() && plan.drop > Rate::NEVER);
    }

    #[test]
    fn faults_can_be_chosen() {
        let cli = read("--seed 7 --drop 10% --stop-every never --freeze-for 2s").unwrap();
        let plan = cli.survive.faults.plan();
        assert_eq!((plan.seed, plan.drop, plan.stop), (7, Rate::new(0.1).unwrap(), None));
        assert_eq!(plan.freeze.unwrap().length, Duration::from_secs(2));
        let calm = read("--seed 7 --no-faults").unwrap().survive.faults.plan();
        assert_eq!(calm, FaultPlan::calm(7));
    }

    #[test]
    fn what_is_wrong_is_one_line_that_says_what_to_do() {
        for (line, says) in [
            ("--drop lots", "write a share as 1%"),
            ("--duration 5", "write a time as 500ms, 12s or 2m"),
            ("--clients 0", "1..=256"),
            ("--bogus", "--bogus"),
            ("--calls 5 --duration 2s", "cannot be used with"),
            ("serve", "--data <DIR>"),
            ("serve --data d --listen nowhere", "such as 127.0.0.1:4000"),
            ("serve --data d --listen 127.0.0.1:99999", "such as 127.0.0.1:4000"),
            ("call --servers 127.0.0.1", "such as 127.0.0.1:4000"),
            ("call", "say which call"),
            ("call open Alice", "use only a-z"),
            ("call deposit alice 0", "moves nothing"),
            ("call deposit alice 1.234", "write it as 12 or 12.34"),
            ("call deposit alice", "<AMOUNT>"),
            ("frobnicate", "frobnicate"),
        ] {
            let message = wrong(line);
            assert!(message.contains(says), "`{line}` says: {message}");
            assert_eq!(message.lines().count(), 1, "`{line}` says: {message}");
            assert!(!message.starts_with("error"), "`{line}` says: {message}");
        }
    }

    #[test]
    fn help_teaches_by_examples() {
        for line in ["--help", "serve --help", "call --help"] {
            match read(line) {
                Err(NoRun::Help(help)) => assert!(help.contains("Examples:"), "{line}"),
                other => panic!("`{line}` gave {other:?}"),
            }
        }
    }
}
