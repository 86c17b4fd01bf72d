//! The tables.

use super::lone::{Kind, LoneRound};
use super::{ManyRound, Measured, WIDTHS};
use crate::table::{median, thousands};

pub(super) fn print(lone: &[LoneRound], many: &[ManyRound]) {
    println!("| what | commits/s | one takes, median | CPU time of a commit |");
    println!("| --- | ---: | ---: | ---: |");
    for (what, kind) in [
        ("a page written in place and synced", Kind::Sync),
        ("the engine by hand, 1 commit a transaction", Kind::ByHand),
        ("the store, 1 in flight", Kind::Store),
        ("the store, 1 in flight, synced where called", Kind::WhereCalled),
        ("the same write without ids, 1 in flight", Kind::WithoutIds),
    ] {
        row(what, lone, |round| round.of(kind));
    }
    row("the engine by hand, 1,024 commits a transaction", many, |round| round.by_hand);
    for (at, width) in WIDTHS.into_iter().enumerate() {
        let width = in_flight(width);
        row(&format!("the store, {width}"), many, |round| round.in_store[at]);
        let what = format!("the same write without ids, {width}");
        row(&what, many, |round| round.without_ids[at]);
    }
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    let last = WIDTHS.len() - 1;
    let reached = median_of(many, |r| r.in_store[last].per_second / r.by_hand.per_second);
    target("group commit, of the engine by hand", "≥ 0.80", reached, reached >= 0.8);
    for (what, kind, than) in [
        ("a lone commit, × the engine's", Kind::Store, Kind::ByHand),
        ("a lone commit, × a sync", Kind::Store, Kind::Sync),
        ("a lone commit, synced where called, × a sync", Kind::WhereCalled, Kind::Sync),
    ] {
        let reached = median_of(lone, |r| r.of(kind).median_micros / r.of(than).median_micros);
        target(what, "≤ 1.15", reached, reached <= 1.15);
    }
    let reached =
        median_of(lone, |r| r.of(Kind::Store).per_second / r.of(Kind::WithoutIds).per_second);
    target(
        "the store, of the same write without ids, 1 in flight",
        "≥ 0.95",
        reached,
        reached >= 0.95,
    );
    for (at, width) in WIDTHS.into_iter().enumerate() {
        let reached = median_of(many, |r| r.in_store[at].per_second / r.without_ids[at].per_second);
        let what = format!("the store, of the same write without ids, {}", in_flight(width));
        target(&what, "≥ 0.95", reached, reached >= 0.95);
    }
    for (at, width) in WIDTHS.into_iter().enumerate() {
        let cpu = |measured: Measured| measured.cpu_micros.unwrap_or(f64::NAN);
        let reached = median_of(many, |r| cpu(r.without_ids[at]) / cpu(r.in_store[at]));
        println!("| the same by CPU time, {} | | {reached:.2} | |", in_flight(width));
    }
}

fn row<R>(what: &str, rounds: &[R], figure: impl Fn(&R) -> Measured) {
    let of = |part: fn(Measured) -> f64| median_of(rounds, |round| part(figure(round)));
    let (per_second, micros) = (thousands(of(|m| m.per_second)), of(|m| m.median_micros));
    let cpu = of(|m| m.cpu_micros.unwrap_or(f64::NAN));
    let cpu = if cpu.is_nan() { "–".to_owned() } else { format!("{cpu:.1} µs") };
    println!("| {what} | {per_second} | {micros:.0} µs | {cpu} |");
}

/// The median of a figure of each round.
fn median_of<R>(rounds: &[R], figure: impl Fn(&R) -> f64) -> f64 {
    median(rounds.iter().map(figure))
}

fn in_flight(width: usize) -> String {
    format!("{} in flight", thousands(width as f64))
}

fn target(what: &str, asked: &str, reached: f64, holds: bool) {
    let holds = if holds { "holds" } else { "**does not hold**" };
    println!("| {what} | {asked} | {reached:.2} | {holds} |");
}
