//! Growth: what a call costs the server as there are more connections, more documents, more kept
//! records; and what an idle connection and an idle session take of its memory.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the cases, and the tables |
//! | `server.rs` | a server whose store is filled beforehand |
//! | `crowd.rs` | many clients, a fixed load |
//! | `by_hand.rs` | a hash map and the engine at the same sizes: what growth costs anyone |

mod by_hand;
pub(crate) mod crowd;
pub(crate) mod server;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::load::Figures;
use crate::process::{CLIENT_CORE, Program, SERVER_CORE, Server, Talking};
use crate::svg;
use crate::table::{load_average, median, progress, thousands};
use crate::usage::Usage;
use crate::work::Contender;

/// Calls in flight, whatever else grows.
const IN_FLIGHT: usize = 64;
/// The most that an idle session and an idle connection may take of the server's memory.
const SESSION_BYTES: f64 = 500.0;
const CONNECTION_BYTES: f64 = 8192.0;
/// How much more a call may cost at the largest size.
const FLAT: f64 = 1.1;

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
}

/// What a server is filled with, and how it is called.
#[derive(Clone, Copy)]
struct Case {
    durable: bool,
    /// The hand-written server and client.
    bare: bool,
    connections: usize,
    accounts: u64,
    records: u64,
}

/// One thing that grows.
struct Series {
    what: &'static str,
    sizes: Vec<u64>,
    case: fn(u64) -> Case,
}

const SMALL: Case = Case { durable: false, bare: false, connections: 1, accounts: 64, records: 0 };

/// Measures, prints tables as Markdown, draws a plot.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let part = if arguments.quick { 100 } else { 1 };
    let all = series(part);
    let steps: usize = all.iter().map(|series| series.sizes.len()).sum();
    let bar = progress(steps * arguments.rounds as usize + 2);
    let load = load_average();
    let mut found: Vec<Vec<Vec<f64>>> =
        all.iter().map(|series| vec![Vec::new(); series.sizes.len()]).collect();
    let mut rates = found.clone();
    for _ in 0..arguments.rounds {
        for (at, series) in all.iter().enumerate() {
            for (step, size) in series.sizes.iter().enumerate() {
                bar.set_message(format!("{} {}", size, series.what));
                let (figures, server) = measure((series.case)(*size), arguments.millis)?;
                found[at][step].push(server.cpu * 1e6 / figures.calls as f64);
                rates[at][step].push(figures.calls as f64 / figures.seconds);
                bar.inc(1);
            }
        }
    }
    bar.set_message("memory");
    let memory = memory(10_000 / part)?;
    bar.finish_and_clear();
    println!(
        "Medians of {} rounds of {} ms; a write, {IN_FLIGHT} calls in flight in all; load of the \
         last minute before: {load}.\n",
        arguments.rounds, arguments.millis
    );
    let groups = print(&all, &found, &rates);
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
    let accounts = vec![10, 1_000_000 / part];
    let records = vec![0, 1_000_000 / part];
    vec![
        Series {
            what: "connections, a call in flight on each of 64 at a time",
            sizes: vec![64, 10_000 / part.min(100)],
            case: |size| Case { connections: size as usize, ..SMALL },
        },
        Series {
            what: "connections, the hand-written limit",
            sizes: vec![64, 10_000 / part.min(100)],
            case: |size| Case { connections: size as usize, bare: true, ..SMALL },
        },
        Series {
            what: "accounts, memory store",
            sizes: accounts.clone(),
            case: |size| Case { accounts: size, ..SMALL },
        },
        Series {
            what: "kept records, memory store",
            sizes: records.clone(),
            case: |size| Case { records: size, ..SMALL },
        },
        Series {
            what: "accounts, embedded store",
            sizes: accounts,
            case: |size| Case { accounts: size, durable: true, ..SMALL },
        },
        Series {
            what: "kept records, embedded store",
            sizes: records,
            case: |size| Case { records: size, durable: true, ..SMALL },
        },
    ]
}

fn print(all: &[Series], found: &[Vec<Vec<f64>>], rates: &[Vec<Vec<f64>>]) -> Vec<svg::Group> {
    println!("| what grows | size | calls/s | server CPU µs/call | × the smallest | |");
    println!("| --- | ---: | ---: | ---: | ---: | --- |");
    let mut groups = Vec::new();
    for (at, series) in all.iter().enumerate() {
        let middle = |values: &Vec<f64>| median(values.iter().copied());
        let first = middle(&found[at][0]);
        let mut bars = Vec::new();
        for (step, size) in series.sizes.iter().enumerate() {
            let cost = middle(&found[at][step]);
            let ratios = found[at][step].iter().zip(&found[at][0]).map(|(now, first)| now / first);
            let ratio = median(ratios);
            println!(
                "| {} | {} | {} | {cost:.2} | {ratio:.2} | {} |",
                series.what,
                thousands(*size as f64),
                thousands(middle(&rates[at][step])),
                verdict(ratio <= FLAT),
            );
            bars.push((if step == 0 { "small" } else { "large" }.to_owned(), cost));
        }
        let name = series.what.split(',').next().unwrap_or(series.what);
        let kind = if first.is_nan() { "" } else { series.what.rsplit(", ").next().unwrap_or("") };
        let kind = kind.split(' ').next().unwrap_or("");
        groups.push((if at == 0 { name.to_owned() } else { format!("{name}, {kind}") }, bars));
    }
    println!();
    groups
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

/// Starts a filled server and a crowd, each on its core, and measures one case.
fn measure(case: Case, millis: u64) -> Result<(Figures, Usage), Box<dyn Error>> {
    let program = Program::this()?;
    let mut server = start(&program, case)?;
    let mut crowd = crowd(&program, &server.address, case, millis)?;
    let before = server.usage()?;
    crowd.say("go")?;
    let figures: Figures = serde_json::from_str(&crowd.hear()?)?;
    Ok((figures, server.usage()? - before))
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
    millis: u64,
) -> Result<Talking, Box<dyn Error>> {
    let mut command = program.command();
    command
        .args(["crowd", "--core", &CLIENT_CORE.to_string(), "--address", address])
        .args(["--connections", &case.connections.to_string()])
        .args(["--accounts", &case.accounts.to_string()])
        .args(["--in-flight", &IN_FLIGHT.to_string(), "--millis", &millis.to_string()]);
    if case.bare {
        command.arg("--bare");
    }
    let mut crowd = Talking::start(&mut command)?;
    match crowd.hear()? {
        said if said == crate::load::WARM => Ok(crowd),
        said => Err(format!("the crowd said {said:?}").into()),
    }
}

/// What each of so many takes of the server's memory: as the allocator counts, as the kernel does.
struct Memory {
    connection: [f64; 2],
    session: [f64; 2],
}

fn memory(count: u64) -> Result<Memory, Box<dyn Error>> {
    let mut server = start(&Program::counting()?, SMALL)?;
    // What the first connections leave behind, buffers and tables, is not theirs.
    let idle = |connections| Case { connections, accounts: 1, ..SMALL };
    drop(crowd(&Program::this()?, &server.address, idle(10), 50)?);
    let before = settled(&mut server)?;
    let crowd = crowd(&Program::this()?, &server.address, idle(count as usize), 50)?;
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
