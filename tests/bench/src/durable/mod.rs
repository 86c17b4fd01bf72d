//! Durable writes: the embedded store beside its engine with the same rows batched by hand, beside
//! group commit written by hand without what makes a call happen once, and beside a bare sync.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the rounds and the table |
//! | `by_hand.rs` | the engine |
//! | `hand_log.rs` | the same write without ids |
//! | `store.rs` | the store |

mod by_hand;
mod hand_log;
mod store;

use std::error::Error;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use self::by_hand::ByHand;
use self::hand_log::HandLog;
use self::store::{Committer, block_on, drive};
use crate::table::{load_average, median, progress, thousands};
use crate::usage::Usage;

const DOCUMENTS: u64 = 10_000;
const DOCUMENT_BYTES: usize = 200;
const RECORD_BYTES: usize = 100;
const MANY: usize = 1024;

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
    /// Of what is timed: a commit, or a batch.
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
    sync_micros: f64,
    lone_by_hand: Measured,
    lone_in_store: Measured,
    many_by_hand: Measured,
    many_in_store: Measured,
    many_without_ids: Measured,
}

/// Measures and prints a table as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let place = tempfile::tempdir_in(&arguments.directory)
        .map_err(|error| format!("cannot write to {}: {error}", arguments.directory.display()))?;
    let time = Duration::from_millis(arguments.millis);
    let mut by_hand = ByHand::open(&place.path().join("by-hand"))?;
    let without_ids = Rc::new(HandLog::open(&place.path().join("without-ids"))?);
    let bar = progress(arguments.rounds as usize);
    let load = load_average();
    let rounds = block_on(async {
        let committer = Committer::open(&place.path().join("store")).await?;
        let mut rounds = Vec::new();
        for _ in 0..arguments.rounds {
            rounds.push(Round {
                sync_micros: bare_sync(&place.path().join("sync"))?,
                lone_by_hand: by_hand.run(1, time)?,
                lone_in_store: committer.run(1, time).await?,
                many_by_hand: by_hand.run(MANY, time)?,
                many_in_store: committer.run(MANY, time).await?,
                many_without_ids: {
                    let log = Rc::clone(&without_ids);
                    let write = move |document| {
                        let log = Rc::clone(&log);
                        async move { log.commit(document).await }
                    };
                    drive(MANY, time, write).await?
                },
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
    print(&rounds);
    Ok(())
}

fn print(rounds: &[Round]) {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    println!("| what | commits/s | one takes, median | CPU time of a commit |");
    println!("| --- | ---: | ---: | ---: |");
    println!("| a page written in place and synced | | {:.0} µs | |", of(|r| r.sync_micros));
    type Figure = fn(&Round) -> Measured;
    let rows: [(&str, Figure); 5] = [
        ("the engine by hand, 1 commit a transaction", |r| r.lone_by_hand),
        ("the store, 1 commit in flight", |r| r.lone_in_store),
        ("the engine by hand, 1,024 commits a transaction", |r| r.many_by_hand),
        ("the store, 1,024 commits in flight", |r| r.many_in_store),
        ("the same write without ids, 1,024 in flight", |r| r.many_without_ids),
    ];
    for (what, figure) in rows {
        let per_second = thousands(median(rounds.iter().map(|r| figure(r).per_second)));
        let micros = median(rounds.iter().map(|r| figure(r).median_micros));
        let cpu = median(rounds.iter().map(|r| figure(r).cpu_micros));
        println!("| {what} | {per_second} | {micros:.0} µs | {cpu:.1} µs |");
    }
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    let many = of(|r| r.many_in_store.per_second / r.many_by_hand.per_second);
    let lone = of(|r| r.lone_in_store.median_micros / r.lone_by_hand.median_micros);
    let one_sync = of(|r| r.lone_in_store.median_micros / r.sync_micros);
    let books = of(|r| r.many_in_store.per_second / r.many_without_ids.per_second);
    let books_cpu = of(|r| r.many_without_ids.cpu_micros / r.many_in_store.cpu_micros);
    let holds = |holds| if holds { "holds" } else { "**does not hold**" };
    println!(
        "| group commit, of the engine by hand | ≥ 0.80 | {many:.2} | {} |",
        holds(many >= 0.8)
    );
    println!("| a lone commit, × the engine's | ≤ 1.15 | {lone:.2} | {} |", holds(lone <= 1.15));
    println!("| a lone commit, × a sync | ≤ 1.15 | {one_sync:.2} | {} |", holds(one_sync <= 1.15));
    println!(
        "| the store, of the same write without ids | ≥ 0.95 | {books:.2} | {} |",
        holds(books >= 0.95)
    );
    println!(
        "| the same by CPU time, which also hides nothing behind the disk | | {books_cpu:.2} | |"
    );
}

/// The median time to write a page of a file and make it durable.
fn bare_sync(path: &Path) -> Result<f64, Box<dyn Error>> {
    let file = std::fs::File::create(path)?;
    file.write_all_at(&[0; 1 << 20], 0)?;
    file.sync_all()?;
    let mut each = Vec::new();
    for round in 0..100_u64 {
        let begun = Instant::now();
        file.write_all_at(&[round as u8; 4096], (round % 256) * 4096)?;
        file.sync_data()?;
        each.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(each.into_iter()))
}

fn document_number(document: u64) -> String {
    format!("{document:08}")
}

fn document_name(document: u64) -> String {
    format!("account:{}", document_number(document))
}
