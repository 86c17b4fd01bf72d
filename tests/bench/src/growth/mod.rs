//! Growth: what a call costs the server as there are more connections, more documents, more kept
//! records; and what an idle connection and an idle session take of its memory.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the cases, and the tables |
//! | `server.rs` | a server whose store is filled beforehand |
//! | `crowd.rs` | many clients, a fixed load |
//! | `instructions.rs` | the work per call, whatever the caches hold |
//! | `by_hand.rs` | a hash map and the engine at the same sizes: what growth costs anyone |

mod by_hand;
pub(crate) mod crowd;
mod instructions;
pub(crate) mod server;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::load::Figures;
use crate::process::{CLIENT_CORE, Load, Program, SERVER_CORE, Server};
use crate::svg;
use crate::table::{TURNS, load_average, median, progress, thousands};
use crate::usage::Usage;
use crate::work::Contender;

/// Calls in flight, whatever else grows: one at a time, when a call costs what it costs alone, and many
/// that share reads, writes and wake-ups.
const LOADS: [usize; 2] = [1, IN_FLIGHT];
const IN_FLIGHT: usize = 64;
/// How much longer the embedded store is measured with many calls in flight: about as long as it takes
/// to the next checkpoint, which is thereby in what a call costs.
const LONGER: u32 = 8;
/// The most that an idle session and an idle connection may take of the server's memory.
const SESSION_BYTES: f64 = 500.0;
const CONNECTION_BYTES: f64 = 8192.0;
/// How much more a call may cost at the largest size.
const FLAT: f64 = 1.1;
/// How long a crowd makes calls of which only what they leave behind is looked at.
const BRIEFLY: Duration = Duration::from_millis(50);

/// What `growth` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Sizes a hundred times smaller: to try the program, not to judge by it.
    #[arg(long)]
    quick: bool,
    /// Rounds; the median of each figure is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// How long each case is measured in each round, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    millis: u64,
    /// Where the plot is drawn; none if it is not given.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Counts the server's instructions, too, with valgrind: some minutes more.
    #[arg(long)]
    instructions: bool,
}

/// What a server is filled with, and how it is called.
#[derive(Clone, Copy)]
struct Case {
    durable: bool,
    /// The hand-written server and client.
    bare: bool,
    connections: usize,
    /// At most one call in flight on each connection: there are more of them if need be.
    spread: bool,
    /// Calls that each connection makes before any is measured.
    first_calls: usize,
    accounts: u64,
    records: u64,
}

impl Case {
    /// A size as it is with so many calls in flight.
    fn shown(self, size: u64, in_flight: usize) -> u64 {
        if self.spread { size.max(in_flight as u64) } else { size }
    }
}

/// One thing that grows.
struct Series {
    what: &'static str,
    /// As in the plot.
    short: &'static str,
    /// A small one and a large one.
    sizes: [u64; 2],
    case: fn(u64) -> Case,
}

/// What was found at the small and at the large size.
type Found = [Measured; 2];

/// Of each round.
#[derive(Default)]
struct Measured {
    /// Microseconds of the server's CPU time a call.
    costs: Vec<f64>,
    /// Calls a second.
    rates: Vec<f64>,
}

const SMALL: Case = Case {
    durable: false,
    bare: false,
    connections: 1,
    spread: false,
    first_calls: 4,
    accounts: 64,
    records: 0,
};

/// Measures, prints tables as Markdown, draws a plot.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let part = if arguments.quick { 100 } else { 1 };
    let all = series(part);
    let counting = if arguments.instructions { 1 } else { 0 };
    let bar = progress(all.len() * (arguments.rounds as usize + 2 * counting) + 2);
    let load = load_average();
    let mut found: Vec<[Found; LOADS.len()]> = all.iter().map(|_| Default::default()).collect();
    let time = Duration::from_millis(arguments.millis);
    for _ in 0..arguments.rounds {
        for (series, found) in all.iter().zip(&mut found) {
            bar.set_message(series.what);
            measure(series, time, found)?;
            bar.inc(1);
        }
    }
    bar.set_message("memory");
    let memory = memory(10_000 / part)?;
    let counts = arguments.instructions.then(|| instructions::measure(&all, &bar));
    bar.finish_and_clear();
    println!(
        "Medians of {} rounds of {} ms, {LONGER} times as long for the embedded store with \
         {IN_FLIGHT} calls in flight; the small and the large by turns, {TURNS} a round; a write; load of the last \
         minute before: {load}.\n",
        arguments.rounds, arguments.millis
    );
    let groups = print(&all, &found);
    match counts {
        Some(Ok(counts)) => instructions::print(&all, &counts),
        Some(Err(error)) => println!("Instructions were not counted: {error}.\n"),
        None => {}
    }
    print_by_hand(1_000_000 / part)?;
    print_memory(&memory, 10_000 / part);
    if let Some(path) = &arguments.plot {
        let drawn = svg::bars("Server CPU per call, µs (logarithmic)", &groups);
        std::fs::write(path, drawn)
            .map_err(|error| format!("cannot draw to {}: {error}", path.display()))?;
    }
    Ok(())
}

fn series(part: u64) -> Vec<Series> {
    let accounts = [10, 1_000_000 / part];
    let records = [0, 1_000_000 / part];
    vec![
        Series {
            what: "connections, used by turns",
            short: "connections",
            sizes: [1, 10_000 / part.min(100)],
            case: |size| Case { connections: size as usize, spread: true, ..SMALL },
        },
        Series {
            what: "connections, the hand-written limit",
            short: "connections, limit",
            sizes: [1, 10_000 / part.min(100)],
            case: |size| Case { connections: size as usize, spread: true, bare: true, ..SMALL },
        },
        Series {
            what: "accounts, memory store",
            short: "accounts, memory",
            sizes: accounts,
            case: |size| Case { accounts: size, ..SMALL },
        },
        Series {
            what: "kept records, memory store",
            short: "records, memory",
            sizes: records,
            case: |size| Case { records: size, ..SMALL },
        },
        Series {
            what: "accounts, embedded store",
            short: "accounts, disk",
            sizes: accounts,
            case: |size| Case { accounts: size, durable: true, ..SMALL },
        },
        Series {
            what: "kept records, embedded store",
            short: "records, disk",
            sizes: records,
            case: |size| Case { records: size, durable: true, ..SMALL },
        },
    ]
}

fn print(all: &[Series], found: &[[Found; LOADS.len()]]) -> Vec<svg::Group> {
    println!("| what grows | in flight | size | calls/s | server CPU µs/call | × the smallest | |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | --- |");
    let middle = |values: &[f64]| median(values.iter().copied());
    let mut bars: Vec<Vec<(String, f64)>> = vec![Vec::new(); all.len()];
    for (load, in_flight) in LOADS.iter().enumerate() {
        for ((series, found), bars) in all.iter().zip(found).zip(&mut bars) {
            let [small, large] = &found[load];
            let pairs = large.costs.iter().zip(&small.costs);
            let growth = median(pairs.map(|(large, small)| large / small));
            let shown = [("small", small, 1.0), ("large", large, growth)];
            for ((name, measured, ratio), size) in shown.into_iter().zip(series.sizes) {
                println!(
                    "| {} | {in_flight} | {} | {} | {:.2} | {ratio:.2} | {} |",
                    series.what,
                    thousands((series.case)(size).shown(size, *in_flight) as f64),
                    thousands(middle(&measured.rates)),
                    middle(&measured.costs),
                    verdict(ratio <= FLAT),
                );
                bars.push((format!("{name}, {in_flight} in flight"), middle(&measured.costs)));
            }
        }
    }
    println!();
    all.iter().map(|series| series.short.to_owned()).zip(bars).collect()
}

/// What the same growth costs without us: the verdicts above are to be read beside it.
fn print_by_hand(large: u64) -> Result<(), Box<dyn Error>> {
    let rows = [
        ("a hash map, read and replaced", by_hand::map(10), by_hand::map(large)),
        (
            "the engine, read and written, 64 a transaction",
            by_hand::engine(10)?,
            by_hand::engine(large)?,
        ),
    ];
    println!(
        "| by hand, 10 accounts and {} | CPU µs, few | many | more by |",
        thousands(large as f64)
    );
    println!("| --- | ---: | ---: | ---: |");
    for (what, few, many) in rows {
        println!("| {what} | {few:.2} | {many:.2} | {:.2} µs |", many - few);
    }
    println!();
    Ok(())
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "**does not hold**" }
}

/// Starts a server of either size, and for each load a crowd on either, and measures both by turns.
fn measure(
    series: &Series,
    time: Duration,
    found: &mut [Found; LOADS.len()],
) -> Result<(), Box<dyn Error>> {
    let program = Program::this()?;
    let cases = series.sizes.map(series.case);
    let mut servers = Vec::new();
    for case in cases {
        servers.push(start(&program, case)?);
    }
    for (in_flight, found) in LOADS.into_iter().zip(found) {
        let mut sides = Vec::new();
        for (case, server) in cases.into_iter().zip(&mut servers) {
            let longer = if case.durable && in_flight > 1 { LONGER } else { 1 };
            let load = crowd(&program, &server.address, case, in_flight, time * longer)?;
            sides.push((load, server.usage()?, Sum::default()));
        }
        for turn in 0..TURNS {
            for side in 0..sides.len() {
                let (load, _, sum) = &mut sides[(side + turn as usize) % 2];
                sum.add(&load.go_for(load.time() / TURNS)?);
            }
        }
        for ((server, found), (_load, before, sum)) in servers.iter_mut().zip(found).zip(sides) {
            // What the server has done while it was the other's turn is a cost of its calls, too.
            let used = server.usage()? - before;
            found.costs.push(used.cpu * 1e6 / sum.calls);
            found.rates.push(sum.calls / sum.seconds);
        }
    }
    Ok(())
}

/// Of all turns of a round.
#[derive(Default)]
struct Sum {
    calls: f64,
    seconds: f64,
}

impl Sum {
    fn add(&mut self, figures: &Figures) {
        self.calls += figures.calls as f64;
        self.seconds += figures.seconds;
    }
}

fn start(program: &Program, case: Case) -> Result<Server, Box<dyn Error>> {
    let mut command = program.command();
    if case.bare {
        return Server::start(program, Contender::Limit);
    }
    command
        .args(["serve-filled", "--core", &SERVER_CORE.to_string()])
        .args(["--accounts", &case.accounts.to_string()])
        .args(["--records", &case.records.to_string()]);
    if case.durable {
        command.arg("--durable");
    }
    Server::start_with(&mut command)
}

/// A crowd that has connected, warmed up and waits.
fn crowd(
    program: &Program,
    address: &str,
    case: Case,
    in_flight: usize,
    time: Duration,
) -> Result<Load, Box<dyn Error>> {
    let connections = if case.spread { case.connections.max(in_flight) } else { case.connections };
    let mut command = program.command();
    command
        .args(["crowd", "--core", &CLIENT_CORE.to_string(), "--address", address])
        .args(["--connections", &connections.to_string()])
        .args(["--accounts", &case.accounts.to_string()])
        .args(["--in-flight", &in_flight.to_string()])
        .args(["--first-calls", &case.first_calls.to_string()]);
    if case.bare {
        command.arg("--bare");
    }
    Load::start_with(&mut command, time)
}

/// What each of so many takes of the server's memory: as the allocator counts, as the kernel does.
struct Memory {
    connection: [f64; 2],
    session: [f64; 2],
}

fn memory(count: u64) -> Result<Memory, Box<dyn Error>> {
    let mut server = start(&Program::counting()?, SMALL)?;
    // What the first connections leave behind, buffers and tables, is not theirs.
    let idle = |connections| Case { connections, first_calls: 0, accounts: 1, ..SMALL };
    drop(crowd(&Program::this()?, &server.address, idle(10), IN_FLIGHT, BRIEFLY)?);
    let before = settled(&mut server)?;
    let crowd =
        crowd(&Program::this()?, &server.address, idle(count as usize), IN_FLIGHT, BRIEFLY)?;
    let connected = settled(&mut server)? - before;
    drop(crowd);
    std::thread::sleep(server::DETACHED_TTL * 2);
    let left = settled(&mut server)? - before;
    let each = |usage: Usage| [usage.live_bytes, usage.resident_bytes].map(|b| b / count as f64);
    Ok(Memory { connection: each(connected), session: each(left) })
}

/// What the server uses once it has stopped to change, or after ten seconds.
fn settled(server: &mut Server) -> Result<Usage, Box<dyn Error>> {
    let start = Instant::now();
    let mut last = server.usage()?;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = server.usage()?;
        let still = (now.live_bytes - last.live_bytes).abs() < 4096.0;
        if still || start.elapsed() > Duration::from_secs(10) {
            return Ok(now);
        }
        last = now;
    }
}

fn print_memory(memory: &Memory, count: u64) {
    println!(
        "| of the server's memory, each of {} takes | bytes allocated | resident | asked | |",
        thousands(count as f64)
    );
    println!("| --- | ---: | ---: | ---: | --- |");
    for (what, [live, resident], most) in [
        ("an idle connection, with its session", memory.connection, CONNECTION_BYTES),
        ("an idle session without a connection", memory.session, SESSION_BYTES),
    ] {
        println!(
            "| {what} | {live:.0} | {resident:.0} | ≤ {most:.0} | {} |",
            verdict(live <= most)
        );
    }
    println!();
}
