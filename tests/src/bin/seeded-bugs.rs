//! Breaks the product on purpose, and asks every layer of the tests whether it notices.
//!
//! ```text
//! cargo run --release -p rpc-tests --bin seeded-bugs -- --help
//! ```

// The scenarios are tests of their own; here their functions are called one by one.
#[allow(dead_code, unused_imports)]
#[path = "../../tests/scenarios/main.rs"]
mod scenarios;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use indicatif::ProgressBar;
use rpc_tests::seeded_bugs::{
    BUGS, Bug, Cell, Layer, MUST_CATCH, Row, Settings, examine, false_alarm,
};

/// Runs every layer of the tests on every deliberate bug, and prints which layer catches which, as a
/// Markdown table: the seed, the place or the test that shows it. Each bug must be caught by at
/// least two layers.
///
/// Then, with `--clean-seeds`, runs the same layers on the code as it is: they must raise no alarm.
///
/// docs/seeded-bugs.md says what each bug is. `Rule`s are broken by a switch that only tests have.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these bugs. May be repeated.
    #[arg(long, value_name = "BUG", value_parser = bug)]
    only: Vec<&'static Bug>,
    /// Only these layers. May be repeated; with fewer than two, nothing is said of two.
    #[arg(long, value_name = "LAYER", value_parser = layer)]
    layer: Vec<Layer>,
    /// Within how many seeds a layer that draws its worlds must catch a bug.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Asks no more layers once this many have caught a bug: 2 is enough for the verdict.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true, value_name = "LAYERS")]
    enough: usize,
    /// Runs the layers on the code as it is too, those that draw their worlds on this many seeds.
    #[arg(long, default_value_t = 0, value_name = "SEEDS")]
    clean_seeds: u64,
}

fn bug(text: &str) -> Result<&'static Bug, String> {
    let names: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
    let known = BUGS.iter().find(|bug| bug.name == text);
    known.ok_or_else(|| format!("there is no such bug; there are {}", names.join(", ")))
}

fn layer(text: &str) -> Result<Layer, String> {
    let names = Layer::ALL.map(Layer::name).join(", ");
    let known = Layer::ALL.into_iter().find(|layer| layer.name() == text);
    known.ok_or(format!("there is no such layer; there are {names}"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let layers = match arguments.layer.as_slice() {
        [] => Layer::ALL.to_vec(),
        chosen => chosen.to_vec(),
    };
    let settings = Settings {
        layers,
        seeds: arguments.seeds,
        enough: arguments.enough,
        scenarios: scenarios::all::ALL,
    };
    let bugs: Vec<&'static Bug> = match arguments.only.as_slice() {
        [] => BUGS.iter().collect(),
        chosen => chosen.to_vec(),
    };
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new(bugs.len() as u64);
    let rows: Vec<Row> = bugs
        .into_iter()
        .map(|bug| {
            bar.set_message(bug.name);
            let row = examine(bug, &settings);
            bar.inc(1);
            row
        })
        .collect();
    bar.finish_and_clear();
    print(&rows, &settings);
    let needed = MUST_CATCH.min(settings.layers.len());
    let missed: Vec<&Row> = rows.iter().filter(|row| row.catches() < needed).collect();
    let alarms = alarms(&arguments, &settings);
    for row in &missed {
        eprintln!("{} is caught by {} of at least {needed} layers", row.bug.name, row.catches());
    }
    for (layer, what) in &alarms {
        eprintln!("a false alarm of {}, with nothing broken: {what}", layer.name());
    }
    println!(
        "seeded-bugs: {} bugs, {} caught by {needed} layers or more within {} seeds, {} clean seeds, {} false alarms, {:.1} s",
        rows.len(),
        rows.len() - missed.len(),
        arguments.seeds,
        arguments.clean_seeds,
        alarms.len(),
        began.elapsed().as_secs_f64(),
    );
    if missed.is_empty() && alarms.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the layers notice although nothing is broken.
fn alarms(arguments: &Arguments, settings: &Settings) -> Vec<(Layer, String)> {
    if arguments.clean_seeds == 0 {
        return Vec::new();
    }
    let bar = ProgressBar::new_spinner();
    let mut alarms = Vec::new();
    for layer in &settings.layers {
        bar.set_message(format!("nothing broken: {}", layer.name()));
        let alarm = false_alarm(*layer, 0..arguments.clean_seeds, settings.scenarios);
        alarms.extend(alarm.map(|what| (*layer, what)));
    }
    bar.finish_and_clear();
    alarms
}

fn print(rows: &[Row], settings: &Settings) {
    let names: Vec<&str> = settings.layers.iter().map(|layer| layer.name()).collect();
    println!("| bug | {} | caught by |", names.join(" | "));
    println!("| --- |{} ---: |", " --- |".repeat(names.len()));
    for row in rows {
        let cells: Vec<String> = row.cells.iter().map(|(_, cell)| shown(cell)).collect();
        println!("| {} | {} | {} |", row.bug.name, cells.join(" | "), row.catches());
    }
    println!(
        "\n–: the layer does not run that code. ·: not asked, enough others had caught it. **no**: it does not notice.\n"
    );
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::NotThere => "–".to_owned(),
        Cell::NotAsked => "·".to_owned(),
        Cell::Missed(_) => "**no**".to_owned(),
        Cell::Caught(what, _) => what.clone(),
    }
}
