//! One of three servers is slow at times: with hedging, and without.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rpc::store::{MemoryStore, Store};
use rpc::{Client, Hedge, Server};
use tokio::task::AbortHandle;

use super::open_loop::{Ended, quantile, run as run_open_loop};
use super::{Arguments, Waiting, verdict};
use crate::contender::ours::{WorkClient, WorkServer, transfer};

const SLOW_SHARE: f64 = 0.05;
const SLOW_FOR: Duration = Duration::from_millis(50);
/// Which part of the healthy calls is not hedged. Of the 5 % that hedging may cost, healthy calls then
/// take 3, and the slow server's slow ones the rest.
const HEDGED_AFTER: f64 = 0.97;
const PER_SECOND: f64 = 500.0;
const SERVERS: usize = 3;
/// More than are ever in the air: nobody waits for a place here.
const PLACES: usize = 4096;
const ACCOUNTS: u64 = 10_000;

/// All calls of one case, over all rounds.
#[derive(Default)]
struct Case {
    calls: Vec<Ended<bool>>,
    requests: u64,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut cases: [Case; 3] = Default::default();
    for round in 0..arguments.rounds {
        let seed = u64::from(round) * 100;
        measure(arguments, seed, false, Hedge::Never, &mut cases[0]).await?;
        measure(arguments, seed, true, Hedge::Never, &mut cases[1]).await?;
        let after = quantile(cases[0].calls.iter(), HEDGED_AFTER);
        measure(arguments, seed, true, Hedge::After(after), &mut cases[2]).await?;
    }
    let healthy = quantile(cases[0].calls.iter(), 0.99);
    println!(
        "{SERVERS} servers, {PER_SECOND} writes a second, each waits 3 to {} ms; one server takes {} ms \
         for {:.0} % of its calls. Hedged after the healthy p{:.0}.\n",
        3 * arguments.work,
        SLOW_FOR.as_millis(),
        SLOW_SHARE * 100.0,
        HEDGED_AFTER * 100.0
    );
    println!("| case | calls | p50 ms | p99 ms | p99.9 ms | requests per call |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let names = ["all healthy", "one slow, no hedging", "one slow, hedged"];
    for (name, case) in names.iter().zip(&cases) {
        let at = |share| quantile(case.calls.iter(), share).as_secs_f64() * 1e3;
        println!(
            "| {name} | {} | {:.1} | {:.1} | {:.1} | {:.3} |",
            case.calls.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            case.load()
        );
    }
    let ratio = quantile(cases[2].calls.iter(), 0.999).as_secs_f64() / healthy.as_secs_f64();
    let extra = cases[2].load() / cases[0].load() - 1.0;
    let failed = cases.iter().flat_map(|case| &case.calls).filter(|call| !call.result).count();
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    println!("| hedged p99.9, × the healthy p99 | ≤ 2 | {ratio:.2} | {} |", verdict(ratio <= 2.0));
    println!(
        "| additional requests | ≤ 5 % | {:.1} % | {} |",
        extra * 100.0,
        verdict(extra <= 0.05)
    );
    println!("| calls that failed | 0 | {failed} | {} |\n", verdict(failed == 0));
    Ok(())
}

impl Case {
    /// Requests that reached a server, for each call.
    fn load(&self) -> f64 {
        self.requests as f64 / self.calls.len() as f64
    }
}

async fn measure(
    arguments: &Arguments,
    seed: u64,
    one_is_slow: bool,
    hedge: Hedge,
    case: &mut Case,
) -> Result<(), Box<dyn Error>> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (mut addresses, mut handles, mut tasks) =
        (Vec::new(), Vec::new(), Vec::<AbortHandle>::new());
    for number in 0..SERVERS {
        let mut worker = Waiting::new(arguments.work, PLACES, seed + number as u64);
        worker.slow = (one_is_slow && number == 0).then_some((SLOW_SHARE, SLOW_FOR));
        let server = Server::builder(WorkServer::new(worker), Arc::clone(&store));
        let server = server.bind("127.0.0.1:0").await?;
        addresses.push(server.address());
        handles.push(server.handle());
        tasks.push(tokio::spawn(server.serve()).abort_handle());
    }
    let client: WorkClient = Client::builder().connect(addresses).await?;
    let random = std::cell::RefCell::new(fastrand::Rng::with_seed(seed));
    let make = || {
        let (client, account) = (client.clone(), random.borrow_mut().u64(..ACCOUNTS));
        async move { transfer(&client, account).hedge(hedge).await.is_ok() }
    };
    // The first calls find connections that are not up yet.
    drop(run_open_loop(PER_SECOND, Duration::from_millis(500), make).await);
    let requests = |handles: &[rpc::ServerHandle<WorkServer<Waiting>>]| -> u64 {
        handles.iter().map(|handle| handle.stats().requests).sum()
    };
    let before = requests(&handles);
    let time = Duration::from_secs(arguments.seconds);
    case.calls.extend(run_open_loop(PER_SECOND, time, make).await);
    case.requests += requests(&handles) - before;
    tasks.iter().for_each(AbortHandle::abort);
    Ok(())
}
