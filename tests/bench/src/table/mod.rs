//! Interleaved rounds of all contenders, and what their calls cost.

mod print;
mod verdict;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum as _;
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use self::print::thousands;
use crate::instructions;
use crate::load::Figures;
use crate::process::{Load, Program, Server};
use crate::relay::Relay;
use crate::syscalls;
use crate::usage::Usage;
use crate::work::{Contender, IN_FLIGHT};

/// What `table` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Shorter rounds and fewer of them, no count of instructions, and no plot unless it is asked for.
    #[arg(long)]
    quick: bool,
    /// Rounds; the median of each figure is shown. [default: 5, quick 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: Option<u32>,
    /// How long each contender is timed in each round. [default: 2000, quick 400]
    #[arg(long, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    millis: Option<u64>,
    /// Only these contenders; others that ratios need are left out of the ratios.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contender>,
    /// Where the plot is drawn. [default: docs/performance.svg, quick none]
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// Where contenders take turns, they do so this often in a round.
pub(crate) const TURNS: u32 = 8;

/// What one contender reached with so many calls in flight.
struct Cell {
    contender: Contender,
    in_flight: usize,
    /// One entry a round.
    rounds: Vec<Round>,
    costs: Costs,
}

/// One timed round.
struct Round {
    figures: Figures,
    /// What the server used meanwhile.
    server: Usage,
}

/// What a call costs, counted in runs of their own, because counting takes time.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    /// To the server, to the client.
    bytes: Option<[f64; 2]>,
    /// On the client, on the server.
    allocations: Option<[f64; 2]>,
    /// On the client, on the server.
    syscalls: Option<[f64; 2]>,
    /// In user space; on the client, on the server.
    instructions: Option<[f64; 2]>,
}

/// Runs every contender in every round, so that a machine that changes changes for all of them.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (usual_millis, usual_rounds) = if arguments.quick { (400, 3) } else { (2000, 5) };
    let time = Duration::from_millis(arguments.millis.unwrap_or(usual_millis));
    let rounds = arguments.rounds.unwrap_or(usual_rounds) as usize;
    let mut cells = cells(&arguments.only);
    let bar = progress(cells.len() * (rounds + 1));
    let load_before = load_average();
    for _ in 0..rounds {
        for cells in cells.chunk_by_mut(|a, b| a.in_flight == b.in_flight) {
            if cells[0].in_flight == 1 {
                bar.set_message("one call at a time, by turns");
                by_turns(cells, time)?;
                bar.inc(cells.len() as u64);
                continue;
            }
            for cell in cells {
                bar.set_message(format!("{} at {}", cell.contender.name(), cell.in_flight));
                let mut timed = Timed::start(cell, time)?;
                cell.rounds.push(timed.go(time)?);
                bar.inc(1);
            }
        }
    }
    let load_after = load_average();
    let counting = Program::counting().map_err(|error| eprintln!("{error}")).ok();
    for cell in &mut cells {
        bar.set_message(format!("counting {} at {}", cell.contender.name(), cell.in_flight));
        let time = time.min(Duration::from_millis(500));
        cell.costs = counted(cell.contender, cell.in_flight, time, counting.as_ref())?;
        if !arguments.quick && instructions::can_count() {
            cell.costs.instructions = instructions::per_call(cell.contender, cell.in_flight)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    print::caption(rounds, time, [&load_before, &load_after]);
    print::speed(&cells);
    print::costs(&cells);
    verdict::print(&cells);
    let usual_plot = (!arguments.quick).then(|| PathBuf::from("docs/performance.svg"));
    if let Some(path) = arguments.plot.clone().or(usual_plot) {
        std::fs::write(&path, print::plot(&cells))
            .map_err(|error| format!("cannot draw to {}: {error}", path.display()))?;
        println!("The plot is in {}.", path.display());
    }
    Ok(())
}

fn cells(only: &[Contender]) -> Vec<Cell> {
    let contenders = if only.is_empty() { Contender::value_variants() } else { only };
    let mut cells = Vec::new();
    for in_flight in IN_FLIGHT {
        for &contender in contenders {
            let costs = Costs::default();
            cells.push(Cell { contender, in_flight, rounds: Vec::new(), costs });
        }
    }
    cells
}

pub(crate) fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(steps as u64).with_style(style.expect("the template is well-formed"))
}

/// The machine's load of the last minute, as text.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// A contender that has warmed up.
struct Timed {
    server: Server,
    load: Load,
}

impl Timed {
    fn start(cell: &Cell, time: Duration) -> Result<Timed, Box<dyn Error>> {
        let program = Program::this()?;
        let server = Server::start(&program, cell.contender)?;
        let load = Load::start(&program, cell.contender, &server.address, cell.in_flight, time)?;
        Ok(Timed { server, load })
    }

    fn go(&mut self, time: Duration) -> Result<Round, Box<dyn Error>> {
        let before = self.server.usage()?;
        let figures = self.load.go_for(time)?;
        Ok(Round { figures, server: self.server.usage()? - before })
    }
}

/// A round in which all contenders are there at once, and take turns: what a wake-up takes changes within
/// seconds, and is most of a lone call. Each turn counts as a round.
///
/// With many calls in flight there are no turns: what a durable store leaves for later would be done
/// while it is another's.
fn by_turns(cells: &mut [Cell], time: Duration) -> Result<(), Box<dyn Error>> {
    let mut all = Vec::new();
    for cell in &*cells {
        all.push(Timed::start(cell, time)?);
    }
    for turn in 0..TURNS as usize {
        for next in order(turn, cells.len()) {
            cells[next].rounds.push(all[next].go(time / TURNS)?);
        }
    }
    Ok(())
}

/// Who comes when in a turn of so many: each once, and none always behind the same one.
fn order(turn: usize, count: usize) -> impl Iterator<Item = usize> {
    let place = move |place| if turn.is_multiple_of(2) { place } else { count - 1 - place };
    (0..count).map(move |at| (place(at) + turn) % count)
}

fn counted(
    contender: Contender,
    in_flight: usize,
    time: Duration,
    counting: Option<&Program>,
) -> Result<Costs, Box<dyn Error>> {
    let program = Program::this()?;
    let mut costs = Costs::default();

    let mut server = Server::start(counting.unwrap_or(&program), contender)?;
    let relay = Relay::start(&server.address)?;
    let client = counting.unwrap_or(&program);
    let mut load = Load::start(client, contender, &relay.address, in_flight, time)?;
    let (used, passed) = (server.usage()?, relay.counted());
    let figures = load.go()?;
    let calls = figures.calls as f64;
    let used = server.usage()? - used;
    let all = relay.counted();
    costs.bytes = Some([0, 1].map(|direction| (all[direction] - passed[direction]) / calls));
    if counting.is_some() {
        costs.allocations = Some([figures.client.allocations / calls, used.allocations / calls]);
    }
    drop((server, load));

    if syscalls::can_count() {
        costs.syscalls = Some(syscalls::per_call(contender, in_flight, time)?);
    }
    Ok(costs)
}

impl Cell {
    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }

    fn rate(&self) -> f64 {
        self.median(rate)
    }
}

fn rate(round: &Round) -> f64 {
    round.figures.calls as f64 / round.figures.seconds
}

fn find(cells: &[Cell], contender: Contender, in_flight: usize) -> Option<&Cell> {
    cells.iter().find(|cell| cell.contender == contender && cell.in_flight == in_flight)
}

/// How a figure compares with another contender's at as many calls in flight: the median of the
/// ratios of each round, whose two sides met the same machine.
fn ratio(
    cells: &[Cell],
    cell: &Cell,
    other: Contender,
    figure: impl Fn(&Round) -> f64,
) -> Option<f64> {
    let other = find(cells, other, cell.in_flight)?;
    let rounds = cell.rounds.iter().zip(&other.rounds);
    Some(median(rounds.map(|(ours, theirs)| figure(ours) / figure(theirs))))
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_and_none_is_always_behind_the_same() {
        for count in 3..20 {
            let turns: Vec<Vec<usize>> =
                (0..TURNS as usize).map(|turn| order(turn, count).collect()).collect();
            for turn in &turns {
                let mut sorted = turn.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..count).collect::<Vec<_>>());
            }
            for who in 0..count {
                let before = |turn: &Vec<usize>| {
                    let at = turn.iter().position(|&next| next == who)?;
                    at.checked_sub(1).map(|before| turn[before])
                };
                let first = turns.iter().find_map(before);
                assert!(turns.iter().filter_map(before).any(|before| Some(before) != first));
            }
        }
    }
}
