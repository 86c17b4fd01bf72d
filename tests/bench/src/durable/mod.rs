//! Durable writes: the embedded store beside its engine with the same rows batched by hand, beside
//! a store without what makes a call happen once, and beside a bare sync.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the rounds |
//! | `report.rs` | the table |
//! | `lone.rs` | one commit at a time |
//! | `bare.rs` | the bare sync |
//! | `by_hand.rs` | the engine |
//! | `without_ids/` | the same write without ids |
//! | `store.rs` | the store, and what drives both |
//! | `grown.rs` | a store whose log has its full length |

mod bare;
mod by_hand;
pub(crate) mod grown;
mod lone;
mod report;
mod store;
pub(crate) mod without_ids;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::by_hand::ByHand;
use self::lone::{Lone, LoneRound};
use self::store::{Committer, block_on, open_without_ids, run_without_ids};
use indicatif::ProgressBar;
use rpc::store::EmbeddedConfig;

use crate::table::{load_average, median, progress};
use crate::usage::Usage;

const DOCUMENTS: u64 = 10_000;
const DOCUMENT_BYTES: usize = 200;
/// More than the response of the work takes.
const RECORD_BYTES: usize = 16;
/// How many commits are in flight where they are many.
const WIDTHS: [usize; 2] = [64, 1024];

/// What `durable` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A directory on the disk to measure; not one in memory.
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Rounds; the median of each figure is shown.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// How long each measurement of a round takes.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    millis: u64,
}

/// What one measurement of one round found.
#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    /// Of what is timed: a commit, a batch, or a sync.
    median_micros: f64,
    /// CPU time of all threads, where nothing else takes any meanwhile.
    cpu_micros: Option<f64>,
}

impl Measured {
    /// Of what was done one by one, with other things in between.
    fn one_by_one(each: Vec<Duration>) -> Measured {
        let all: Duration = each.iter().sum();
        Measured {
            per_second: each.len() as f64 / all.as_secs_f64(),
            median_micros: median(each.iter().map(|one| one.as_secs_f64() * 1e6)),
            cpu_micros: None,
        }
    }

    /// Of turns that took equally long.
    fn of_turns(turns: &[Measured]) -> Measured {
        let mean =
            |of: fn(&Measured) -> f64| turns.iter().map(of).sum::<f64>() / turns.len() as f64;
        let cpu_per_second =
            |turn: &Measured| turn.cpu_micros.unwrap_or(f64::NAN) * turn.per_second;
        let per_second = mean(|turn| turn.per_second);
        Measured {
            per_second,
            median_micros: median(turns.iter().map(|turn| turn.median_micros)),
            cpu_micros: Some(mean(cpu_per_second) / per_second),
        }
    }
}

/// A measurement that has begun.
struct Measuring {
    start: Instant,
    before: Usage,
}

impl Measuring {
    fn begin() -> Measuring {
        Measuring { start: Instant::now(), before: Usage::now() }
    }

    fn end(self, commits: usize, each: Vec<Duration>) -> Measured {
        let used = Usage::now() - self.before;
        Measured {
            per_second: commits as f64 / self.start.elapsed().as_secs_f64(),
            cpu_micros: Some(used.cpu * 1e6 / commits as f64),
            median_micros: median(each.iter().map(|one| one.as_secs_f64() * 1e6)),
        }
    }
}

/// How often in a round each of them has its turn where many commits are in flight: what one leaves for later, a
/// checkpoint mostly, is done while it is another's turn, and there must not be too much of that.
const TURNS: u32 = 4;

/// One round of what is done by many at once, by turns.
struct ManyRound {
    by_hand: Measured,
    /// For each of [`WIDTHS`].
    in_store: [Measured; WIDTHS.len()],
    without_ids: [Measured; WIDTHS.len()],
}

/// Measures and prints a table as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let place = tempfile::tempdir_in(&arguments.directory)
        .map_err(|error| format!("cannot write to {}: {error}", arguments.directory.display()))?;
    let time = Duration::from_millis(arguments.millis);
    let load = load_average();
    let bar = progress(2 * arguments.rounds as usize);
    let (lone, many) = block_on(async {
        let lone = measure_lone(place.path(), arguments.rounds, time, &bar).await?;
        Ok((lone, measure_many(place.path(), arguments.rounds, time, &bar).await?))
    })?;
    bar.finish_and_clear();
    println!(
        "Medians of {} rounds of {} ms each; load of the last minute before: {load}.\n",
        arguments.rounds, arguments.millis
    );
    report::print(&lone, &many);
    Ok(())
}

async fn measure_lone(
    place: &Path,
    rounds: u32,
    time: Duration,
    bar: &ProgressBar,
) -> Result<Vec<LoneRound>, Box<dyn Error>> {
    let mut lone = Lone::open(place).await?;
    let mut measured = Vec::new();
    for _ in 0..rounds {
        measured.push(lone.run(time).await?);
        bar.inc(1);
    }
    Ok(measured)
}

async fn measure_many(
    place: &Path,
    rounds: u32,
    time: Duration,
    bar: &ProgressBar,
) -> Result<Vec<ManyRound>, Box<dyn Error>> {
    let mut by_hand = ByHand::open(&place.join("by-hand"))?;
    let committer = Committer::open(&place.join("store"), EmbeddedConfig::default()).await?;
    let plain = open_without_ids(&place.join("without-ids")).await?;
    let mut measured = Vec::new();
    for _ in 0..rounds {
        let mut by_hand_turns = Vec::new();
        let mut in_store: [Vec<Measured>; WIDTHS.len()] = Default::default();
        let mut without_ids: [Vec<Measured>; WIDTHS.len()] = Default::default();
        for turn in 0..TURNS {
            for (at, width) in WIDTHS.into_iter().enumerate() {
                // Who comes first has what the one before has left to do.
                if turn % 2 == 0 {
                    in_store[at].push(committer.run(width, time / TURNS).await?);
                }
                without_ids[at].push(run_without_ids(&plain, width, time / TURNS).await?);
                if turn % 2 == 1 {
                    in_store[at].push(committer.run(width, time / TURNS).await?);
                }
            }
            by_hand_turns.push(by_hand.run(WIDTHS[1], time / TURNS)?);
        }
        measured.push(ManyRound {
            by_hand: Measured::of_turns(&by_hand_turns),
            in_store: in_store.map(|turns| Measured::of_turns(&turns)),
            without_ids: without_ids.map(|turns| Measured::of_turns(&turns)),
        });
        bar.inc(1);
    }
    Ok(measured)
}

fn document_number(document: u64) -> String {
    format!("{document:08}")
}

fn document_name(document: u64) -> String {
    format!("account:{}", document_number(document))
}
