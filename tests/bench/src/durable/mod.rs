//! Durable writes: the embedded store beside its engine with the same rows batched by hand, beside
//! a store without what makes a call happen once, and beside a bare sync.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the rounds |
//! | `report.rs` | the table |
//! | `bare.rs` | the bare sync |
//! | `by_hand.rs` | the engine |
//! | `without_ids/` | the same write without ids |
//! | `store.rs` | the store, and what drives both |

mod bare;
mod by_hand;
mod report;
mod store;
pub(crate) mod without_ids;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::bare::Bare;
use self::by_hand::ByHand;
use self::store::{Committer, block_on, open_without_ids, run_without_ids};
use rpc::store::EmbeddedConfig;

use crate::table::{load_average, median, progress};
use crate::usage::Usage;

const DOCUMENTS: u64 = 10_000;
const DOCUMENT_BYTES: usize = 200;
/// More than the response of the work takes.
const RECORD_BYTES: usize = 16;
/// How many commits are in flight, where the store is compared with the one without ids.
const WIDTHS: [usize; 3] = [1, 64, 1024];

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
    /// CPU time of all threads.
    cpu_micros: f64,
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
            cpu_micros: used.cpu * 1e6 / commits as f64,
            median_micros: median(each.iter().map(|one| one.as_secs_f64() * 1e6)),
        }
    }
}

/// One round of all measurements, taken right after each other.
struct Round {
    sync: Measured,
    lone_by_hand: Measured,
    lone_where_called: Measured,
    many_by_hand: Measured,
    /// For each of [`WIDTHS`].
    in_store: [Measured; WIDTHS.len()],
    without_ids: [Measured; WIDTHS.len()],
}

/// Measures and prints a table as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let place = tempfile::tempdir_in(&arguments.directory)
        .map_err(|error| format!("cannot write to {}: {error}", arguments.directory.display()))?;
    let time = Duration::from_millis(arguments.millis);
    let mut bare = Bare::open(&place.path().join("sync"))?;
    let mut by_hand = ByHand::open(&place.path().join("by-hand"))?;
    let bar = progress(arguments.rounds as usize);
    let load = load_average();
    let rounds = block_on(async {
        let config = EmbeddedConfig::default();
        let committer = Committer::open(&place.path().join("store"), config.clone()).await?;
        let calling = config.sync_where_called(true);
        let calling = Committer::open(&place.path().join("synced-where-called"), calling).await?;
        let plain = open_without_ids(&place.path().join("without-ids")).await?;
        let mut rounds = Vec::new();
        for round in 0..arguments.rounds {
            let sync = bare.run(time)?;
            let (mut in_store, mut without_ids) = (Vec::new(), Vec::new());
            for width in WIDTHS {
                // Who comes first has what the one before has left to do.
                if round % 2 == 0 {
                    in_store.push(committer.run(width, time).await?);
                }
                without_ids.push(run_without_ids(&plain, width, time).await?);
                if round % 2 == 1 {
                    in_store.push(committer.run(width, time).await?);
                }
            }
            let all = |found: Vec<Measured>| found.try_into().unwrap_or_else(|_| unreachable!());
            rounds.push(Round {
                sync,
                lone_where_called: calling.run(1, time).await?,
                lone_by_hand: by_hand.run(1, time)?,
                many_by_hand: by_hand.run(WIDTHS[2], time)?,
                in_store: all(in_store),
                without_ids: all(without_ids),
            });
            bar.inc(1);
        }
        Ok(rounds)
    })?;
    bar.finish_and_clear();
    println!(
        "Medians of {} interleaved rounds of {} ms each; load of the last minute before: {load}.\n",
        arguments.rounds, arguments.millis
    );
    report::print(&rounds);
    Ok(())
}

fn document_number(document: u64) -> String {
    format!("{document:08}")
}

fn document_name(document: u64) -> String {
    format!("account:{}", document_number(document))
}
