//! Interleaved rounds, medians, the table.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use clap::ValueEnum as _;

use crate::work::{Contender, Figures};

const IN_FLIGHT: [usize; 3] = [1, 64, 1024];

/// What one contender reached with so many calls in flight, one entry a round.
struct Cell {
    contender: Contender,
    in_flight: usize,
    rounds: Vec<Figures>,
}

/// A server process, ended with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Runs every contender in every round, so that a machine that changes changes for all of them.
pub(crate) fn run(quick: bool, rounds: Option<usize>) -> Result<(), Box<dyn Error>> {
    let (millis, usual) = if quick { (500, 3) } else { (2000, 5) };
    let rounds = rounds.unwrap_or(usual);
    let contenders = Contender::value_variants();
    let mut cells: Vec<Cell> = Vec::new();
    for in_flight in IN_FLIGHT {
        for &contender in contenders {
            cells.push(Cell { contender, in_flight, rounds: Vec::new() });
        }
    }
    for round in 1..=rounds {
        for cell in &mut cells {
            eprint!(
                "\rround {round} of {rounds}: {:?} at {}        ",
                cell.contender, cell.in_flight
            );
            let (_server, address) = start(cell.contender)?;
            cell.rounds.push(load(cell.contender, &address, cell.in_flight, millis)?);
        }
    }
    eprintln!("\r{:60}", "");
    print(&cells, rounds);
    Ok(())
}

fn start(contender: Contender) -> Result<(Server, String), Box<dyn Error>> {
    let mut child = this_program()?
        .args(["serve", "--contender", &name(contender), "--core", "0"])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the server has no output")?;
    let server = Server(child);
    let mut address = String::new();
    BufReader::new(output).read_line(&mut address)?;
    if address.is_empty() {
        return Err(format!("the server of {contender:?} did not start").into());
    }
    Ok((server, address.trim().to_owned()))
}

fn load(
    contender: Contender,
    address: &str,
    in_flight: usize,
    millis: u64,
) -> Result<Figures, Box<dyn Error>> {
    let output = this_program()?
        .args(["load", "--contender", &name(contender), "--core", "1", "--address", address])
        .args(["--in-flight", &in_flight.to_string(), "--millis", &millis.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the client of {contender:?} ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn this_program() -> Result<Command, Box<dyn Error>> {
    Ok(Command::new(std::env::current_exe()?))
}

fn name(contender: Contender) -> String {
    contender.to_possible_value().expect("no contender is hidden").get_name().to_owned()
}

fn print(cells: &[Cell], rounds: usize) {
    println!("Medians of {rounds} interleaved rounds; client and server pinned to a core each.\n");
    println!(
        "| in flight | contender | calls/s | of the limit | p50 µs | p99 µs | p99.9 µs | client CPU µs/call |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for cell in cells {
        let rate = |figures: &Figures| figures.calls as f64 / figures.seconds;
        let limit = cells
            .iter()
            .find(|other| other.contender == Contender::Limit && other.in_flight == cell.in_flight)
            .map_or(f64::NAN, |limit| median(&limit.rounds, rate));
        println!(
            "| {} | {} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} | {:.2} |",
            cell.in_flight,
            name(cell.contender),
            median(&cell.rounds, rate),
            median(&cell.rounds, rate) / limit,
            median(&cell.rounds, |figures| figures.p50_micros),
            median(&cell.rounds, |figures| figures.p99_micros),
            median(&cell.rounds, |figures| figures.p999_micros),
            median(&cell.rounds, |figures| figures.client_cpu * 1e6 / figures.calls as f64),
        );
    }
}

fn median(rounds: &[Figures], figure: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
