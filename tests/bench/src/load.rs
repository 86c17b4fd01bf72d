//! The loop that loads a server: first to warm up, then, whenever it is told to, timed.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::contender::bare::Loop;
use crate::usage::Usage;

/// What one load has measured when it was told to go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    pub(crate) p999_micros: f64,
    /// What the client used for it.
    pub(crate) client: Usage,
}

/// One run of the loop.
pub(crate) struct Measured {
    pub(crate) calls: u64,
    pub(crate) waits: Histogram<u64>,
    pub(crate) seconds: f64,
}

/// Every how many calls one is timed, where many are in flight: a clock read is not free.
const TIMED_EVERY: u64 = 8;

/// What a load says once it has warmed up.
pub(crate) const WARM: &str = "warm";

/// A histogram of nanoseconds, up to a minute.
pub(crate) fn histogram() -> Result<Histogram<u64>, Box<dyn Error>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Makes calls from as many tasks as are to be in flight, for a while to warm up, and then as often as it is
/// told to, for as long as it is told to; prints the figures of each time. Each task has a caller, made from
/// its number, with a client's handle of its own, as a program's tasks have.
pub(crate) async fn drive<C: AsyncFn() + 'static>(
    in_flight: usize,
    warm_up: Duration,
    caller: impl Fn(usize) -> C,
) -> Result<(), Box<dyn Error>> {
    run_when_told(warm_up, async |time| run(in_flight, time, &caller).await).await
}

/// As [`drive`], without tasks.
pub(crate) async fn drive_loop(
    mut calls: Loop,
    in_flight: usize,
    warm_up: Duration,
) -> Result<(), Box<dyn Error>> {
    run_when_told(warm_up, async |time| calls.run(time, every(in_flight)).await).await
}

async fn run_when_told(
    warm_up: Duration,
    mut run: impl AsyncFnMut(Duration) -> Result<Measured, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    run(warm_up).await?;
    println!("{WARM}");
    while let Some(time) = told_to_go().await? {
        let before = Usage::now();
        let measured = run(time).await?;
        tell(&measured, Usage::now() - before)?;
    }
    Ok(())
}

fn every(in_flight: usize) -> u64 {
    if in_flight == 1 { 1 } else { TIMED_EVERY }
}

/// Waits for a line with milliseconds; the runtime goes on meanwhile. `None` at the end of the input.
async fn told_to_go() -> Result<Option<Duration>, Box<dyn Error>> {
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    match line.await??.trim_end() {
        "" => Ok(None),
        millis => Ok(Some(Duration::from_millis(millis.parse()?))),
    }
}

fn tell(measured: &Measured, client: Usage) -> Result<(), Box<dyn Error>> {
    let micros = |share: f64| measured.waits.value_at_quantile(share) as f64 / 1000.0;
    let figures = Figures {
        calls: measured.calls,
        seconds: measured.seconds,
        p50_micros: micros(0.5),
        p99_micros: micros(0.99),
        p999_micros: micros(0.999),
        client,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn run<C: AsyncFn() + 'static>(
    in_flight: usize,
    time: Duration,
    caller: &impl Fn(usize) -> C,
) -> Result<Measured, Box<dyn Error>> {
    let waits = Rc::new(RefCell::new(histogram()?));
    let start = Instant::now();
    let stop = Rc::new(std::cell::Cell::new(false));
    let every = every(in_flight);
    let callers: Vec<_> = (0..in_flight)
        .map(|number| {
            let (call, waits, stop) = (caller(number), Rc::clone(&waits), Rc::clone(&stop));
            tokio::task::spawn_local(async move {
                let mut calls = 0u64;
                while !stop.get() {
                    if calls.is_multiple_of(every) {
                        let begun = Instant::now();
                        call().await;
                        let took = begun.elapsed();
                        waits.borrow_mut().saturating_record(took.as_nanos() as u64);
                        if start.elapsed() >= time {
                            stop.set(true);
                        }
                    } else {
                        call().await;
                    }
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let waits = waits.borrow().clone();
    Ok(Measured { calls, waits, seconds })
}
