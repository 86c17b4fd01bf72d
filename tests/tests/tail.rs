//! The tail of the latency in virtual time, where this machine's own delays do not count: one of
//! three servers is slow at times, with hedging and without.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc::store::MemoryStore;
use rpc::transport::InProcess;
use rpc::{CallError, Client, ClientConfig, Hedge, Server, ServerConfig, ServerHandle, Tx};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

/// How a slow server is slow, and how many calls are made; one in two milliseconds.
const SLOW_SHARE: f64 = 0.05;
const SLOW_FOR: Duration = Duration::from_millis(50);
const CALLS: usize = 10_000;
const ACCOUNTS: u64 = 1_000;

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
struct Name(u64);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]
#[document(key = Name, collection = "account")]
struct Account(u64);

#[rpc::service]
trait Waiting {
    async fn wait(&self, tx: &mut Tx, #[anchor] name: Name, number: u64) -> u64;
}

/// Works for 3 to 12 ms, on so many calls at once; some calls of a slow one take 50 ms.
struct Waiter {
    is_slow: bool,
    random: Mutex<fastrand::Rng>,
    places: Semaphore,
}

impl Waiter {
    fn new(seed: u64, is_slow: bool, places: usize) -> Waiter {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Waiter { is_slow, random, places: Semaphore::new(places) }
    }

    fn draw(&self) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_slow && random.f64() < SLOW_SHARE {
            return SLOW_FOR;
        }
        Duration::from_millis((0..3).map(|_| random.u64(1..=4)).sum())
    }
}

impl Waiting for Waiter {
    async fn wait(&self, tx: &mut Tx, name: Name, number: u64) -> u64 {
        let _place = self.places.acquire().await;
        sleep(self.draw()).await;
        tx.put(&name, &Account(number));
        number
    }
}

/// What a run has shown.
struct Run {
    took: Vec<Duration>,
    requests_per_call: f64,
}

impl Run {
    fn quantile(&self, share: f64) -> Duration {
        self.took[((self.took.len() - 1) as f64 * share) as usize]
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hedging_brings_the_tail_of_a_slow_server_near_that_of_healthy_ones()
-> Result<(), Box<dyn Error>> {
    let healthy = run(false, Hedge::Never).await?;
    let p99 = healthy.quantile(0.99);
    let slow = run(true, Hedge::Never).await?;
    let hedged = run(true, Hedge::After(p99)).await?;
    for (name, run) in [("healthy", &healthy), ("one slow", &slow), ("hedged", &hedged)] {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| run.quantile(share));
        let load = run.requests_per_call;
        println!("| {name} | {p50:.1?} | {p99:.1?} | {p999:.1?} | {load:.3} |");
    }
    assert!(slow.quantile(0.99) >= SLOW_FOR, "without hedging the slow server shows");
    let (p999, most) = (hedged.quantile(0.999), 2 * p99);
    assert!(p999 <= most, "the hedged p99.9 is {p999:?}, above twice the healthy p99: {most:?}");
    let extra = hedged.requests_per_call / healthy.requests_per_call;
    assert!(extra <= 1.05, "{extra} times the requests");
    Ok(())
}

async fn run(one_is_slow: bool, hedge: Hedge) -> Result<Run, Box<dyn Error>> {
    let network = InProcess::new();
    let store = Arc::new(MemoryStore::new());
    let mut handles: Vec<ServerHandle<WaitingServer<Waiter>>> = Vec::new();
    let mut serving = JoinSet::new();
    let names = ["one", "two", "three"];
    for (number, name) in names.iter().enumerate() {
        let waiter = Waiter::new(number as u64, one_is_slow && number == 0, CALLS);
        let server = Server::builder(WaitingServer::new(waiter), store.clone());
        let server = server.listen_on(network.listen(name));
        handles.push(server.handle());
        serving.spawn(server.serve());
    }
    let config = ClientConfig::default().seed(Some(1));
    let client: WaitingClient =
        Client::builder().config(config).connector(network).connect(names).await?;
    // So that all three are connected.
    sleep(Duration::from_secs(1)).await;
    let mut calls = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(2));
    for number in 0..CALLS as u64 {
        ticks.tick().await;
        let client = client.clone();
        calls.spawn(async move {
            let begun = Instant::now();
            let answer = client.wait(Name(number % ACCOUNTS), number).hedge(hedge).await;
            (answer.is_ok_and(|answer| answer == number), begun.elapsed())
        });
    }
    let ended = calls.join_all().await;
    assert!(ended.iter().all(|(is_right, _)| *is_right), "every call gets its answer");
    let mut took: Vec<Duration> = ended.into_iter().map(|(_, took)| took).collect();
    took.sort_unstable();
    let requests: u64 = handles.iter().map(|handle| handle.stats().requests).sum();
    Ok(Run { took, requests_per_call: requests as f64 / CALLS as f64 })
}

/// How the calls of one phase ended.
#[derive(Debug, Default)]
struct Phase {
    done: Vec<Duration>,
    refused: Vec<Duration>,
    unknown: usize,
}

const PLACES: usize = 8;
const TAKEN: usize = 24;
const DEADLINE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn overload_costs_no_throughput_and_leaves_nothing_behind() -> Result<(), Box<dyn Error>> {
    let network = InProcess::new();
    let config = ServerConfig::default().max_running(TAKEN);
    let waiter = Waiter::new(1, false, PLACES);
    let server = Server::builder(WaitingServer::new(waiter), Arc::new(MemoryStore::new()));
    tokio::spawn(server.config(config).listen_on(network.listen("one")).serve());
    let config = ClientConfig::default().seed(Some(1)).deadline(DEADLINE);
    let client: WaitingClient =
        Client::builder().config(config).connector(network).connect(["one"]).await?;

    // 8 places, 7.5 ms in the mean: 1,066 a second.
    let capacity = PLACES as f64 / 0.0075;
    let calm = phase(&client, capacity / 2.0, 10).await;
    let over = phase(&client, capacity * 2.0, 10).await;
    let first_second = phase(&client, capacity / 2.0, 1).await;
    let after = phase(&client, capacity / 2.0, 10).await;
    let rate = |phase: &Phase| phase.done.len() as f64 / 10.0;
    let quantile = |times: &[Duration], share: f64| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times.get(((times.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or_default()
    };
    for (name, phase) in
        [("calm", &calm), ("over", &over), ("then", &first_second), ("after", &after)]
    {
        println!(
            "| {name} | {} | {:.1?} | {:.1?} | {} | {:.1?} | {} |",
            phase.done.len(),
            quantile(&phase.done, 0.5),
            quantile(&phase.done, 0.99),
            phase.refused.len(),
            quantile(&phase.refused, 0.5),
            phase.unknown
        );
    }
    assert!(rate(&over) >= 0.9 * capacity, "{} of {capacity} calls a second", rate(&over));
    assert!(over.done.iter().all(|took| *took <= DEADLINE), "what is done is done in time");
    assert!(!over.refused.is_empty(), "the excess is refused");
    assert_eq!(over.unknown, 0, "a refused call has certainly not run");
    assert!(quantile(&over.refused, 0.5) <= DEADLINE / 10, "and it is refused early");
    assert!(after.refused.is_empty(), "afterwards nothing is refused");
    let (before, later) = (quantile(&calm.done, 0.99), quantile(&after.done, 0.99));
    assert!(later <= before * 11 / 10, "a second later p99 is {later:?}, and was {before:?}");
    Ok(())
}

/// Makes so many calls a second, of one attempt each, and waits for all.
async fn phase(client: &WaitingClient, per_second: f64, seconds: u32) -> Phase {
    let mut calls = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(1));
    let (mut made, mut due) = (0.0, 0.0);
    for _ in 0..seconds * 1000 {
        ticks.tick().await;
        due += per_second / 1000.0;
        while made < due {
            let (client, number) = (client.clone(), made as u64);
            calls.spawn(async move {
                let begun = Instant::now();
                (
                    client
                        .wait(Name(number % ACCOUNTS), number)
                        .max_attempts(1)
                        .await
                        .map_err(is_refusal),
                    begun.elapsed(),
                )
            });
            made += 1.0;
        }
    }
    let mut phase = Phase::default();
    for (answer, took) in calls.join_all().await {
        match answer {
            Ok(_) => phase.done.push(took),
            Err(true) => phase.refused.push(took),
            Err(false) => phase.unknown += 1,
        }
    }
    phase
}

fn is_refusal<E>(error: CallError<E>) -> bool {
    matches!(error, CallError::NotExecuted(_))
}
