//! The work, and the loop that loads a server with it.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{limit, ours};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// This system: a method with neither `Tx` nor `View`.
    Plain,
    /// This system: a write on the memory store, with everything that exactly-once needs.
    WriteMemory,
    /// This system: a write on the embedded store, with fsync.
    WriteEmbedded,
    /// Hand-written frames with a task per caller: what the machine allows.
    Limit,
    /// tarpc over bincode.
    #[cfg(feature = "peers")]
    Tarpc,
}

/// What one load has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    pub(crate) p999_micros: f64,
    /// CPU time of the client, in seconds.
    pub(crate) client_cpu: f64,
}

/// Every how many calls one is timed, where many are in flight: a clock read is not free.
const TIMED_EVERY: u64 = 8;

pub(crate) const NAME: &str = "0123456789abcdef";

pub(crate) async fn serve(contender: Contender) -> Result<(), Box<dyn Error>> {
    match contender {
        Contender::Plain | Contender::WriteMemory => ours::serve(false).await,
        Contender::WriteEmbedded => ours::serve(true).await,
        Contender::Limit => limit::serve().await,
        #[cfg(feature = "peers")]
        Contender::Tarpc => crate::tarpc_peer::serve().await,
    }
}

/// Loads a server for `time`, with this many calls in flight.
pub(crate) async fn load(
    contender: Contender,
    address: &str,
    in_flight: usize,
    time: Duration,
) -> Result<Figures, Box<dyn Error>> {
    match contender {
        Contender::Plain => {
            let client = ours::connect(address).await?;
            drive(in_flight, time, move |_| ours::plain(client.clone())).await
        }
        Contender::WriteMemory | Contender::WriteEmbedded => {
            let client = ours::connect(address).await?;
            drive(in_flight, time, move |caller| ours::write(client.clone(), caller)).await
        }
        Contender::Limit => {
            let client = limit::connect(address).await?;
            drive(in_flight, time, move |_| limit::call(Rc::clone(&client))).await
        }
        #[cfg(feature = "peers")]
        Contender::Tarpc => {
            let client = crate::tarpc_peer::connect(address).await?;
            drive(in_flight, time, move |_| crate::tarpc_peer::call(client.clone())).await
        }
    }
}

/// Makes calls from as many tasks as are to be in flight: first to warm up, then timed.
async fn drive<F: Future<Output = ()> + 'static>(
    in_flight: usize,
    time: Duration,
    call: impl Fn(usize) -> F + 'static,
) -> Result<Figures, Box<dyn Error>> {
    let call = Rc::new(call);
    run(in_flight, time / 4, &call).await?;
    let cpu_before = cpu_seconds();
    let (calls, waits, seconds) = run(in_flight, time, &call).await?;
    let micros = |share: f64| waits.value_at_quantile(share) as f64 / 1000.0;
    Ok(Figures {
        calls,
        seconds,
        p50_micros: micros(0.5),
        p99_micros: micros(0.99),
        p999_micros: micros(0.999),
        client_cpu: cpu_seconds() - cpu_before,
    })
}

async fn run<F: Future<Output = ()> + 'static>(
    in_flight: usize,
    time: Duration,
    call: &Rc<impl Fn(usize) -> F + 'static>,
) -> Result<(u64, Histogram<u64>, f64), Box<dyn Error>> {
    let waits = Rc::new(RefCell::new(Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?));
    let start = Instant::now();
    let stop = Rc::new(std::cell::Cell::new(false));
    let every = if in_flight == 1 { 1 } else { TIMED_EVERY };
    let callers: Vec<_> = (0..in_flight)
        .map(|caller| {
            let (call, waits, stop) = (Rc::clone(call), Rc::clone(&waits), Rc::clone(&stop));
            tokio::task::spawn_local(async move {
                let mut calls = 0u64;
                while !stop.get() {
                    if calls.is_multiple_of(every) {
                        let begun = Instant::now();
                        call(caller).await;
                        let took = begun.elapsed();
                        waits.borrow_mut().saturating_record(took.as_nanos() as u64);
                        if start.elapsed() >= time {
                            stop.set(true);
                        }
                    } else {
                        call(caller).await;
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
    Ok((calls, waits, seconds))
}

/// CPU time that this process has used, in seconds.
fn cpu_seconds() -> f64 {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9
}
