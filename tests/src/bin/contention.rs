//! What contention costs: the exactly-once store beside the same work unprotected and under locks.
//!
//! ```text
//! cargo run --release -p rpc-tests --bin contention -- --help
//! ```

use std::time::Duration;

use clap::Parser;
use rpc_tests::contention::{Case, Figures, Load, Protocol, Stop};
use rpc_tests::simulated::Faults;

/// Many clients want the same documents. Throughput, latency and store operations per call of the
/// exactly-once store, of unprotected read-modify-write and of locks, on the same simulated store.
///
/// Runs on virtual time on one thread: the figures measure the protocols, not this machine, and the
/// same seed gives the same figures. The clock counts whole milliseconds, so that a store operation
/// takes two at least: read the figures beside each other, not as those of a real cluster.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long each case runs, in seconds of virtual time.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many clients make calls, one after the other each.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1024))]
    clients: u64,
    /// How many servers run the calls of the exactly-once store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=64))]
    servers: u64,
    /// The longest way of an operation to the store, and again back, in milliseconds; each is
    /// drawn anew, between 1 and this.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1000))]
    delay: u64,
    /// What makes the run repeatable.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const CASES: [Case; 7] = [
    Case::Hot,
    Case::HotPayee,
    Case::Opposite,
    Case::Ring(3),
    Case::Ring(8),
    Case::Random(1_000),
    Case::Uncontended(1_000),
];

const PROTOCOLS: [(Protocol, &str); 3] = [
    (Protocol::ExactlyOnce, "exactly once"),
    (Protocol::Unprotected, "unprotected"),
    (Protocol::Locked, "locks"),
];

fn main() {
    let arguments = Arguments::parse();
    let Arguments { seconds, clients, servers, delay, seed } = arguments;
    println!(
        "seed {seed}, {clients} clients, {servers} servers, an operation takes up to {} ms, {seconds} s each, virtual time\n",
        2 * delay
    );
    let mut table = Vec::new();
    for case in CASES {
        for (protocol, name) in PROTOCOLS {
            let load = Load {
                case,
                protocol,
                clients,
                servers,
                stop: Stop::After(Duration::from_secs(seconds)),
                cut_off: 0,
                // Whoever is left when the time is up has waited for everybody else at most.
                limit: Duration::from_secs(seconds) * 2 + Duration::from_secs(3600),
                faults: Faults { delay: Duration::from_millis(delay), ..Faults::default() },
                seed,
                list_calls: false,
            };
            let ended = load.run();
            let changes: u64 = ended.changes.iter().sum();
            let expected: u64 =
                ended.figures.done.iter().map(|done| done.accounts.len() as u64).sum();
            assert_eq!(changes, expected, "{case}, {name}: a change was lost or doubled");
            let cells = cells(&ended.figures);
            println!("{case:<22} {name:<13} {}", cells.join("  "));
            table.push(format!("| {case} | {name} | {} |", cells.join(" | ")));
        }
    }
    println!("\n| case | way | {} |", HEADS.join(" | "));
    println!("| --- | --- |{}", " ---: |".repeat(HEADS.len()));
    for row in table {
        println!("{row}");
    }
}

const HEADS: [&str; 7] =
    ["calls/s", "p50 ms", "p99 ms", "max ms", "reads/call", "writes/call", "calls per client"];

fn cells(figures: &Figures) -> [String; 7] {
    let latency = |share| figures.latency(share).as_millis().to_string();
    let (reads, writes) = figures.operations_per_call();
    let (least, most) = figures.fairness();
    [
        format!("{:.0}", figures.throughput()),
        latency(0.5),
        latency(0.99),
        latency(1.0),
        format!("{reads:.1}"),
        format!("{writes:.1}"),
        format!("{least}–{most}"),
    ]
}
