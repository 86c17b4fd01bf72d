//! Twice as many calls as the server can do, and what comes after.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rpc::store::MemoryStore;
use rpc::{CallError, Client, Server, ServerConfig};

use super::open_loop::{Ended, quantile, run as run_open_loop};
use super::{Arguments, Waiting, verdict};
use crate::contender::ours::{WorkClient, WorkServer, transfer};

/// How many calls the server works on at once, and how many it takes before it refuses more.
const PLACES: usize = 8;
const TAKEN: usize = 24;
const ACCOUNTS: u64 = 10_000;
/// What a caller gives a call: a few times what the longest queue takes.
const DEADLINE: Duration = Duration::from_millis(250);

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    NotExecuted,
    Unknown,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let worker = Waiting::new(arguments.work, PLACES, 1);
    let config = ServerConfig::default().max_running(TAKEN);
    let server = Server::builder(WorkServer::new(worker), Arc::new(MemoryStore::new()))
        .config(config)
        .bind("127.0.0.1:0")
        .await?;
    let address = server.address();
    let serving = tokio::spawn(server.serve()).abort_handle();
    let client: WorkClient = Client::builder().deadline(DEADLINE).connect([address]).await?;

    let peak = peak(&client, Duration::from_secs(arguments.seconds)).await;
    let random = std::cell::RefCell::new(fastrand::Rng::with_seed(1));
    let make = || {
        let (client, account) = (client.clone(), random.borrow_mut().u64(..ACCOUNTS));
        async move { ending(&client, account).await }
    };
    let time = Duration::from_secs(arguments.seconds);
    let calm = run_open_loop(peak / 2.0, time, make).await;
    let over = run_open_loop(peak * 2.0, time, make).await;
    let after = run_open_loop(peak / 2.0, time, make).await;
    serving.abort();
    print(peak, [&calm, &over, &after], time);
    Ok(())
}

/// The most that can be done in a second: as many callers as the server takes, each with one call.
async fn peak(client: &WorkClient, time: Duration) -> f64 {
    let start = tokio::time::Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..TAKEN as u64 {
        let client = client.clone();
        callers.spawn(async move {
            let mut done = 0u64;
            while start.elapsed() < time {
                done += u64::from(ending(&client, caller).await == Ending::Done);
            }
            done
        });
    }
    let done: u64 = callers.join_all().await.into_iter().sum();
    done as f64 / start.elapsed().as_secs_f64()
}

async fn ending(client: &WorkClient, account: u64) -> Ending {
    // One attempt: so that a refusal is told at once, and not tried again until the deadline.
    match transfer(client, account).max_attempts(1).await {
        Ok(_) => Ending::Done,
        Err(CallError::NotExecuted(_)) => Ending::NotExecuted,
        Err(_) => Ending::Unknown,
    }
}

fn print(peak: f64, [calm, over, after]: [&[Ended<Ending>]; 3], time: Duration) {
    println!(
        "One server that works on {PLACES} calls at once and takes {TAKEN}; deadline {} ms; peak \
         {peak:.0} calls/s.\n",
        DEADLINE.as_millis()
    );
    println!(
        "| phase | calls/s made | done/s | of the peak | done: p50 ms | done: p99 ms | not executed | their p50 ms | outcome unknown |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (name, calls) in [("half the peak", calm), ("twice the peak", over), ("half again", after)]
    {
        let per_second = |count: usize| count as f64 / time.as_secs_f64();
        let at = |ending, share| quantile(of(calls, ending), share).as_secs_f64() * 1e3;
        let done = per_second(of(calls, Ending::Done).count());
        println!(
            "| {name} | {:.0} | {done:.0} | {:.2} | {:.1} | {:.1} | {} | {:.1} | {} |",
            per_second(calls.len()),
            done / peak,
            at(Ending::Done, 0.5),
            at(Ending::Done, 0.99),
            of(calls, Ending::NotExecuted).count(),
            at(Ending::NotExecuted, 0.5),
            of(calls, Ending::Unknown).count(),
        );
    }
    let goodput = of(over, Ending::Done).count() as f64 / time.as_secs_f64() / peak;
    let late = of(over, Ending::Done).filter(|call| call.took > DEADLINE).count();
    // From the first second after the overload on, all but the slowest one in a hundred.
    let second = Duration::from_secs(1);
    let recovered = after.iter().filter(|call| call.due >= second);
    let ratio = quantile(recovered, 0.5).as_secs_f64() / quantile(calm.iter(), 0.5).as_secs_f64();
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    println!(
        "| done under twice the load, of the peak | ≥ 0.90 | {goodput:.2} | {} |",
        verdict(goodput >= 0.9)
    );
    println!("| calls done after their deadline | 0 | {late} | {} |", verdict(late == 0));
    println!(
        "| p50 from a second after the overload on, × before it | ≤ 1.10 | {ratio:.2} | {} |\n",
        verdict(ratio <= 1.1)
    );
}

fn of(calls: &[Ended<Ending>], ending: Ending) -> impl Iterator<Item = &Ended<Ending>> {
    calls.iter().filter(move |call| call.result == ending)
}
