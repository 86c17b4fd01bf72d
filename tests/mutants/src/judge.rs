//! Switches mutants on, one by one, and runs the tests that come by each.

use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::ledger::Verdict;
use crate::list::Mutant;
use crate::reach::{Reach, Test};
use crate::run::{self, End};

/// Tests of one program that take this long together are run in one process.
const BATCH: Duration = Duration::from_secs(1);
/// How much longer than without a mutant tests may take.
const PATIENCE: u32 = 4;
const LEAST: Duration = Duration::from_secs(3);

/// How mutants are asked about.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) budget: Duration,
    pub(crate) longest: Duration,
    pub(crate) workers: usize,
}

/// Asks about each of `mutants` while the budget lasts.
pub(crate) fn judge(
    mutants: &[&Mutant],
    reach: &Reach<'_>,
    settings: Settings,
    place: &Path,
    mut enter: impl FnMut(&Mutant, Verdict) -> Result<(), String>,
) -> Result<(), String> {
    let start = Instant::now();
    let bar = ProgressBar::new(mutants.len() as u64);
    let next = Mutex::new(mutants.iter());
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for worker in 0..settings.workers {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || {
                let log = place.join(format!("log-{worker}"));
                while start.elapsed() < settings.budget {
                    let Some(mutant) = next.lock().expect("no panic").next() else { break };
                    let verdict = ask(mutant, reach, settings.longest, &log);
                    tell.send((*mutant, verdict)).expect("it is read to the end");
                }
            });
        }
        drop(tell);
        for (mutant, verdict) in told {
            bar.inc(1);
            let verdict = verdict?;
            if matches!(verdict, Verdict::Missed | Verdict::Unreached) {
                bar.suspend(|| println!("{verdict:?}: {}", mutant.name));
            }
            enter(mutant, verdict)?;
        }
        bar.finish_and_clear();
        Ok(())
    })
}

fn ask(mutant: &Mutant, reach: &Reach, longest: Duration, log: &Path) -> Result<Verdict, String> {
    let tests = reach.tests_of(mutant.id);
    if tests.is_empty() {
        return Ok(Verdict::Unreached);
    }
    let id = mutant.id.to_string();
    for batch in batches(tests, longest, |test| order(&reach.binaries[test.binary].name)) {
        let binary = &reach.binaries[batch[0].binary];
        let names: Vec<_> = batch.iter().map(|test| test.name.as_str()).collect();
        let takes: Duration = batch.iter().map(|test| test.takes).sum();
        let limit = LEAST + takes * PATIENCE;
        match run::tests(binary, &names, ("RPC_MUTANT", &id), limit, log)?.0 {
            End::Passed => {}
            End::Failed(test) => return Ok(Verdict::Caught(format!("{}: {test}", binary.name))),
            End::TimedOut => return Ok(Verdict::TimedOut(binary.name.clone())),
        }
    }
    Ok(Verdict::Missed)
}

/// Unit tests say soonest what is wrong; over real sockets a mutant mostly waits for something.
fn order(program: &str) -> u8 {
    match program {
        "rpc" => 0,
        other if other.starts_with("tcp") => 2,
        _ => 1,
    }
}

/// The tests, the short ones first, in as few processes as is good.
fn batches(
    mut tests: Vec<&Test>,
    longest: Duration,
    order: impl Fn(&Test) -> u8,
) -> Vec<Vec<&Test>> {
    tests.retain(|test| test.takes <= longest);
    tests.sort_by_key(|test| (test.takes > BATCH, test.binary, test.takes));
    let mut batches: Vec<Vec<&Test>> = Vec::new();
    for test in tests {
        let fits = batches.last().is_some_and(|batch| {
            let takes: Duration = batch.iter().map(|test| test.takes).sum();
            batch[0].binary == test.binary && takes + test.takes <= BATCH
        });
        match batches.last_mut() {
            Some(batch) if fits => batch.push(test),
            _ => batches.push(vec![test]),
        }
    }
    batches.sort_by_key(|batch| {
        let takes = batch.iter().map(|test| test.takes).sum::<Duration>();
        (takes > BATCH, order(batch[0]), takes)
    });
    batches
}
