//! What was aimed at, and whether this run reached it.

use super::{Cell, Contender, Round, find, rate, ratio};

/// Bytes of the plain call on the wire: what a request and a response need with their headers.
const MOST_BYTES: [f64; 2] = [53.0, 14.0];
/// The two names of the call, made by the caller; and by the server, which takes them owned.
const OWN_ALLOCATIONS: f64 = 2.0;

pub(super) fn print(cells: &[Cell]) {
    println!("| target | asked | reached | |");
    println!("| --- | ---: | ---: | --- |");
    ratios(cells);
    latency(cells);
    costs(cells);
    println!();
}

fn row(what: &str, asked: &str, reached: Option<f64>, holds: impl Fn(f64) -> bool) {
    match reached {
        Some(value) => {
            let verdict = if holds(value) { "holds" } else { "**does not hold**" };
            println!("| {what} | {asked} | {value:.2} | {verdict} |");
        }
        None => println!("| {what} | {asked} | – | not measured |"),
    }
}

#[cfg(feature = "peers")]
fn ratios(cells: &[Cell]) {
    use Contender::{Plain, PlainBusyPolled, Tarpc, Tonic, WriteMemory};
    let targets = [
        (Plain, 1, Tarpc, 1.2),
        (Plain, 1, Tonic, 2.3),
        (PlainBusyPolled, 1, Tarpc, 2.5),
        (Plain, 64, Tarpc, 5.0),
        (Plain, 64, Tonic, 24.0),
        (Plain, 1024, Tarpc, 8.0),
        (Plain, 1024, Tonic, 30.0),
        (WriteMemory, 64, Tarpc, 3.0),
        (WriteMemory, 1024, Tarpc, 5.0),
    ];
    for (contender, in_flight, peer, least) in targets {
        let what = format!("{} at {in_flight}, × {}", contender.name(), peer.name());
        let reached =
            find(cells, contender, in_flight).and_then(|cell| ratio(cells, cell, peer, rate));
        row(&what, &format!("≥ {least}"), reached, |value| value >= least);
    }
}

#[cfg(not(feature = "peers"))]
fn ratios(_cells: &[Cell]) {}

fn latency(cells: &[Cell]) {
    type Figure = fn(&Round) -> f64;
    let figures: [(&str, Figure, f64); 2] = [
        ("p50", |round| round.figures.p50_micros, 1.05),
        ("p99", |round| round.figures.p99_micros, 1.10),
    ];
    for (name, figure, most) in figures {
        let what = format!("plain at 1, {name} × the limit's");
        let reached = find(cells, Contender::Plain, 1)
            .and_then(|cell| ratio(cells, cell, Contender::Limit, figure));
        row(&what, &format!("≤ {most:.2}"), reached, |value| value <= most);
    }
    for (in_flight, aim) in [(1, 0.95), (64, 0.85), (1024, 0.85)] {
        let what = format!("aim: plain at {in_flight}, of the limit's calls/s");
        let reached = find(cells, Contender::Plain, in_flight)
            .and_then(|cell| ratio(cells, cell, Contender::Limit, rate));
        row(&what, &format!("≥ {aim}"), reached, |value| value >= aim);
    }
}

fn costs(cells: &[Cell]) {
    let of = |in_flight| find(cells, Contender::Plain, in_flight).map(|cell| cell.costs);
    for (side, name) in ["to the server", "to the client"].into_iter().enumerate() {
        let reached = of(64).and_then(|costs| costs.bytes).map(|bytes| bytes[side]);
        let most = MOST_BYTES[side];
        row(&format!("plain, bytes {name}"), &format!("≤ {most}"), reached, |v| v <= most + 0.05);
    }
    for (side, name) in ["client", "server"].into_iter().enumerate() {
        for (in_flight, most) in [(1, 3.0), (64, 0.1)] {
            let reached = of(in_flight).and_then(|costs| costs.syscalls).map(|count| count[side]);
            let what = format!("plain at {in_flight}, system calls of the {name}");
            // The start and the end of a run are in the count.
            row(&what, &format!("≤ {most}"), reached, |value| value <= most + 0.01);
        }
        let reached = of(64).and_then(|costs| costs.allocations);
        let reached = reached.map(|count| count[side] - OWN_ALLOCATIONS);
        let what = format!("plain at 64, allocations of the {name} beside the arguments'");
        row(&what, "0", reached, |value| value < 0.01);
    }
}
