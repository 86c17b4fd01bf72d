//! The tables as Markdown, and the plot.

use std::time::Duration;

use super::{Cell, Contender, TURNS, rate, ratio};
use crate::svg;
use crate::work::IN_FLIGHT;

pub(super) fn caption(rounds: usize, time: Duration, [before, after]: [&str; 2]) {
    println!(
        "Medians of {rounds} interleaved rounds of {} ms, with 1 in flight of {} turns of {} ms; client and server pinned \
         to a core each; the machine's load of the last minute was {before} before and {after} after.\n",
        time.as_millis(),
        rounds * TURNS as usize,
        (time / TURNS).as_millis()
    );
}

pub(super) fn speed(cells: &[Cell]) {
    let peers = peers();
    let heads: String = peers.iter().map(|(_, name)| format!(" × {name} |")).collect();
    println!(
        "| in flight | contender | calls/s | of the limit |{heads} p50 µs | p99 µs | p99.9 µs |"
    );
    println!("| ---: | --- | ---: | ---: |{} ---: | ---: | ---: |", " ---: |".repeat(peers.len()));
    for cell in cells {
        let of = |other| {
            ratio(cells, cell, other, rate).map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
        };
        let ratios: String = peers.iter().map(|(peer, _)| format!(" {} |", of(*peer))).collect();
        println!(
            "| {} | {} | {} | {} |{ratios} {:.1} | {:.1} | {:.1} |",
            cell.in_flight,
            cell.contender.name(),
            thousands(cell.rate()),
            of(Contender::Limit),
            cell.median(|round| round.figures.p50_micros),
            cell.median(|round| round.figures.p99_micros),
            cell.median(|round| round.figures.p999_micros),
        );
    }
    println!();
}

pub(super) fn costs(cells: &[Cell]) {
    println!(
        "Per call, client + server. Bytes: counted by a relay between the two. System calls: by \
         `strace -f -c` on both, of a longer run less those of a shorter one; what timers take a second is in \
         them, and strace's slowness makes it more a call. Allocations, of all threads, those of the arguments \
         included: by a counting allocator. Instructions, in user space alone: by valgrind. Each in runs of \
         its own.\n"
    );
    println!(
        "| in flight | contender | CPU µs | bytes to server + to client | system calls | allocations | instructions |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: |");
    for cell in cells {
        let pair = |pair: Option<[f64; 2]>, digits: usize| {
            pair.map_or("–".to_owned(), |[a, b]| format!("{a:.digits$} + {b:.digits$}"))
        };
        let client = cell.median(|round| round.figures.client.cpu / round.figures.calls as f64);
        let server = cell.median(|round| round.server.cpu / round.figures.calls as f64);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            cell.in_flight,
            cell.contender.name(),
            pair(Some([client * 1e6, server * 1e6]), 2),
            pair(cell.costs.bytes, 1),
            pair(cell.costs.syscalls, 2),
            pair(cell.costs.allocations, 2),
            pair(cell.costs.instructions, 0),
        );
    }
    println!();
}

pub(super) fn plot(cells: &[Cell]) -> String {
    let groups = IN_FLIGHT.map(|in_flight| {
        let bars = cells.iter().filter(|cell| cell.in_flight == in_flight);
        let bars = bars.map(|cell| (cell.contender.name(), cell.rate())).collect();
        (format!("{in_flight} in flight"), bars)
    });
    svg::bars("Calls per second, one connection (logarithmic)", &groups)
}

#[cfg(feature = "peers")]
fn peers() -> Vec<(Contender, &'static str)> {
    vec![(Contender::Tarpc, "tarpc"), (Contender::Tonic, "tonic")]
}

#[cfg(not(feature = "peers"))]
fn peers() -> Vec<(Contender, &'static str)> {
    Vec::new()
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
