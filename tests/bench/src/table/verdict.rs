//! What was aimed at, and whether this run reached it.

use super::{Cell, Contender, Costs, Round, find, rate, ratio};

/// Bytes of the plain call on the wire: what a request and a response need with their headers.
const MOST_BYTES: [f64; 2] = [53.0, 14.0];
/// The two names of the call, made by the caller; and by the server, which takes them owned.
const OWN_ALLOCATIONS: f64 = 2.0;

pub(super) fn print(cells: &[Cell]) {
    println!(
        "*The limit*: what the hand-written limit reached of the same in this run; of a write, limit-write.\n"
    );
    println!("| target | asked | the limit | reached | |");
    println!("| --- | ---: | ---: | ---: | --- |");
    ratios(cells);
    latency(cells);
    bookkeeping(cells);
    costs(cells);
    println!();
}

/// What was reached of a target, and what the hand-written limit reaches.
#[derive(Clone, Copy)]
struct Reached {
    ours: Option<f64>,
    limit: Option<f64>,
}

fn row(what: &str, asked: &str, reached: Reached, holds: impl Fn(f64) -> bool) {
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    let verdict = match reached.ours {
        Some(value) if holds(value) => "holds",
        Some(_) => "**does not hold**",
        None => "not measured",
    };
    println!(
        "| {what} | {asked} | {} | {} | {verdict} |",
        number(reached.limit),
        number(reached.ours)
    );
}

#[cfg(feature = "peers")]
fn ratios(cells: &[Cell]) {
    use Contender::{
        Limit, LimitWrite, Plain, PlainBusyPolled, PlainLent, Tarpc, Tonic, WriteMemory,
    };
    let targets = [
        (Plain, 1, Tarpc, 1.2),
        (Plain, 1, Tonic, 2.3),
        (PlainBusyPolled, 1, Tarpc, 2.5),
        (Plain, 64, Tarpc, 5.0),
        (Plain, 64, Tonic, 24.0),
        (Plain, 1024, Tarpc, 8.0),
        (PlainLent, 1024, Tarpc, 8.0),
        (Plain, 1024, Tonic, 30.0),
        (WriteMemory, 64, Tarpc, 3.0),
        (WriteMemory, 1024, Tarpc, 5.0),
    ];
    for (contender, in_flight, peer, least) in targets {
        let what = format!("{} at {in_flight}, × {}", contender.name(), peer.name());
        let of = |contender| {
            find(cells, contender, in_flight).and_then(|cell| ratio(cells, cell, peer, rate))
        };
        let limit = if contender == WriteMemory { LimitWrite } else { Limit };
        let reached = Reached { ours: of(contender), limit: of(limit) };
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
        let ours = find(cells, Contender::Plain, 1)
            .and_then(|cell| ratio(cells, cell, Contender::Limit, figure));
        let reached = Reached { ours, limit: Some(1.0) };
        row(&what, &format!("≤ {most:.2}"), reached, |value| value <= most);
    }
    use Contender::{Plain, PlainLent};
    for (contender, in_flight, aim) in
        [(Plain, 1, 0.95), (Plain, 64, 0.85), (Plain, 1024, 0.85), (PlainLent, 1024, 0.85)]
    {
        let what = format!("aim: {} at {in_flight}, of the limit's calls/s", contender.name());
        let ours = find(cells, contender, in_flight)
            .and_then(|cell| ratio(cells, cell, Contender::Limit, rate));
        let reached = Reached { ours, limit: Some(1.0) };
        row(&what, &format!("≥ {aim}"), reached, |value| value >= aim);
    }
}

/// What exactly-once costs a durable write.
fn bookkeeping(cells: &[Cell]) {
    use Contender::{WriteEmbedded, WriteWithoutIds};
    for in_flight in crate::work::IN_FLIGHT {
        let what =
            format!("write-embedded at {in_flight}, of the calls/s of {}", WriteWithoutIds.name());
        let ours = find(cells, WriteEmbedded, in_flight)
            .and_then(|cell| ratio(cells, cell, WriteWithoutIds, rate));
        row(&what, "≥ 0.95", Reached { ours, limit: None }, |value| value >= 0.95);
    }
}

fn costs(cells: &[Cell]) {
    let pair = |figure: fn(&Costs) -> Option<[f64; 2]>, in_flight, side: usize| {
        let of = |contender| {
            find(cells, contender, in_flight).and_then(|cell| figure(&cell.costs)).map(|p| p[side])
        };
        Reached { ours: of(Contender::Plain), limit: of(Contender::Limit) }
    };
    for (side, name) in ["to the server", "to the client"].into_iter().enumerate() {
        let reached = pair(|costs| costs.bytes, 64, side);
        let most = MOST_BYTES[side];
        row(&format!("plain, bytes {name}"), &format!("≤ {most}"), reached, |v| v <= most + 0.05);
    }
    for (side, name) in ["client", "server"].into_iter().enumerate() {
        for (in_flight, most) in [(1, 3.0), (64, 0.1)] {
            let reached = pair(|costs| costs.syscalls, in_flight, side);
            let what = format!("plain at {in_flight}, system calls of the {name}");
            // As it is shown: to two decimals.
            row(&what, &format!("≤ {most}"), reached, |value| value < most + 0.005);
        }
        let own = |count: Option<f64>| count.map(|count| count - OWN_ALLOCATIONS);
        let all = pair(|costs| costs.allocations, 64, side);
        let reached = Reached { ours: own(all.ours), limit: own(all.limit) };
        let what = format!("plain at 64, allocations of the {name} beside the arguments'");
        row(&what, "0", reached, |value| value < 0.01);
    }
    for (in_flight, most) in [(64, 6_500.0), (1024, 5_500.0)] {
        let [client, server] = [0, 1].map(|side| pair(|costs| costs.instructions, in_flight, side));
        let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        let reached =
            Reached { ours: sum(client.ours, server.ours), limit: sum(client.limit, server.limit) };
        let what = format!("plain at {in_flight}, instructions in user space");
        row(&what, &format!("≤ {most}"), reached, |value| value <= most);
    }
}
