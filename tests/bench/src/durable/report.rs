//! The table.

use super::{Measured, Round, WIDTHS};
use crate::table::{median, thousands};

type Figure = Box<dyn Fn(&Round) -> Measured>;

pub(super) fn print(rounds: &[Round]) {
    println!("| what | commits/s | one takes, median | CPU time of a commit |");
    println!("| --- | ---: | ---: | ---: |");
    for (what, figure) in rows() {
        let of = |part: fn(Measured) -> f64| median(rounds.iter().map(|r| part(figure(r))));
        let (per_second, micros) = (of(|m| m.per_second), of(|m| m.median_micros));
        let (per_second, cpu) = (thousands(per_second), of(|m| m.cpu_micros));
        println!("| {what} | {per_second} | {micros:.0} µs | {cpu:.1} µs |");
    }
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    let (lone, many) = (0, WIDTHS.len() - 1);
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    let reached = of(&|r| r.in_store[many].per_second / r.many_by_hand.per_second);
    target("group commit, of the engine by hand", "≥ 0.80", reached, reached >= 0.8);
    let reached = of(&|r| r.in_store[lone].median_micros / r.lone_by_hand.median_micros);
    target("a lone commit, × the engine's", "≤ 1.15", reached, reached <= 1.15);
    let reached = of(&|r| r.in_store[lone].median_micros / r.sync.median_micros);
    target("a lone commit, × a sync", "≤ 1.15", reached, reached <= 1.15);
    let reached = of(&|r| r.lone_where_called.median_micros / r.sync.median_micros);
    target("a lone commit, synced where called, × a sync", "≤ 1.15", reached, reached <= 1.15);
    for (at, width) in WIDTHS.into_iter().enumerate() {
        let reached = of(&|r| r.in_store[at].per_second / r.without_ids[at].per_second);
        let what = format!("the store, of the same write without ids, {}", in_flight(width));
        target(&what, "≥ 0.95", reached, reached >= 0.95);
    }
    for (at, width) in WIDTHS.into_iter().enumerate() {
        let reached = of(&|r| r.without_ids[at].cpu_micros / r.in_store[at].cpu_micros);
        println!("| the same by CPU time, {} | | {reached:.2} | |", in_flight(width));
    }
}

fn rows() -> Vec<(String, Figure)> {
    let mut rows: Vec<(String, Figure)> = vec![
        ("a page written in place and synced".into(), Box::new(|r| r.sync)),
        ("the engine by hand, 1 commit a transaction".into(), Box::new(|r| r.lone_by_hand)),
        ("the engine by hand, 1,024 commits a transaction".into(), Box::new(|r| r.many_by_hand)),
    ];
    for (at, width) in WIDTHS.into_iter().enumerate() {
        let width = in_flight(width);
        rows.push((format!("the store, {width}"), Box::new(move |r| r.in_store[at])));
        let what = format!("the same write without ids, {width}");
        rows.push((what, Box::new(move |r| r.without_ids[at])));
    }
    let what = "the store, 1 in flight, synced where called".into();
    rows.insert(4, (what, Box::new(|r| r.lone_where_called)));
    rows
}

fn in_flight(width: usize) -> String {
    format!("{} in flight", thousands(width as f64))
}

fn target(what: &str, asked: &str, reached: f64, holds: bool) {
    let holds = if holds { "holds" } else { "**does not hold**" };
    println!("| {what} | {asked} | {reached:.2} | {holds} |");
}
