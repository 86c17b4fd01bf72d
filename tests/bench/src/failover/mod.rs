//! A server's death: how long it takes from `kill -9` until other servers have served its calls.
//!
//! Three servers, processes of their own, on one store (`store.rs`). The client has calls in flight
//! all the time, spread over all three. One after the other is killed, and started again once all
//! calls that were in flight have been served. Balances tell whether each happened once.

pub(crate) mod store;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc::store::Store;
use rpc::store::cas::CasStore;
use rpc::{Client, Server as RpcServer, Tx};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use crate::contender::ours::{Name, Receipt, Work, WorkClient, WorkServer, add, transfer};
use crate::process::{Program, Server};
use crate::table::{load_average, median, progress};

const SERVERS: usize = 3;
/// What may pass until calls are served.
const TARGET: Duration = Duration::from_millis(500);
/// A call that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a call adds to its account.
const AMOUNT: u64 = 100;

/// What `failover` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many servers are killed, one after the other.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Calls in flight.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    in_flight: u32,
}

/// Says in its receipts which server it is.
struct Numbered(u64);

impl Work for Numbered {
    async fn plain(&self, _from: String, _to: String, amount: u64) -> Receipt {
        Receipt { id: self.0, balance: amount }
    }

    async fn plain_lent(&self, from: &str, to: &str, amount: u64) -> Receipt {
        self.plain(from.to_owned(), to.to_owned(), amount).await
    }

    async fn write(&self, tx: &mut Tx, from: Name, _to: String, amount: u64) -> Receipt {
        Receipt { id: self.0, balance: add(tx, &from, amount).await.balance }
    }
}

/// Serves on the shared store, as the server of this number; prints the address.
pub(crate) async fn serve(
    address: &str,
    documents: &str,
    number: u64,
) -> Result<(), Box<dyn Error>> {
    let store: Arc<dyn Store> = Arc::new(CasStore::new(store::Backend::connect(documents).await?)?);
    let server = RpcServer::builder(WorkServer::new(Numbered(number)), store);
    let server = server.bind(address).await?;
    println!("{}", server.address());
    server.serve().await;
    Ok(())
}

/// A call that was served.
struct Served {
    by: u64,
    begun: Instant,
    at: Instant,
}

/// What callers tell.
type News = UnboundedReceiver<Result<Served, String>>;

/// What passed after a server's death.
struct Death {
    /// Until another server has served a call.
    first: Duration,
    /// Until every call that was in flight has been served.
    last: Duration,
}

/// Measures and prints a table as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let load = load_average();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let deaths = runtime.block_on(LocalSet::new().run_until(kill_by_turns(arguments)))?;
    println!(
        "{SERVERS} servers, {} calls in flight, {} deaths; load of the last minute before: {load}.\n",
        arguments.in_flight, arguments.rounds
    );
    println!("| from kill -9 until | median ms | longest ms | asked | |");
    println!("| --- | ---: | ---: | ---: | --- |");
    let row = |until: &str, time: fn(&Death) -> Duration| {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let longest = deaths.iter().map(time).max().unwrap_or_default();
        println!(
            "| {until} | {:.1} | {:.1} | ≤ {:.0} | {} |",
            median(deaths.iter().map(|death| millis(time(death)))),
            millis(longest),
            millis(TARGET),
            if longest <= TARGET { "holds" } else { "**does not hold**" },
        );
    };
    row("another server has served a call", |death| death.first);
    row("all calls that were in flight are served", |death| death.last);
    Ok(())
}

async fn kill_by_turns(arguments: &Arguments) -> Result<Vec<Death>, Box<dyn Error>> {
    let documents = Server::start_with(Program::this()?.command().arg("serve-documents"))?;
    let mut servers = Vec::new();
    for number in 0..SERVERS {
        servers.push(start(&documents.address, "127.0.0.1:0", number)?);
    }
    let addresses: Vec<String> = servers.iter().map(|server| server.address.clone()).collect();
    let client: WorkClient = Client::builder().connect(addresses.iter().cloned()).await?;
    let (tell, mut news) = unbounded_channel();
    for caller in 0..u64::from(arguments.in_flight) {
        tokio::task::spawn_local(call(client.clone(), caller, tell.clone()));
    }
    drop(tell);
    for number in 0..SERVERS {
        served_by(&mut news, number).await?;
    }
    let bar = progress(arguments.rounds as usize);
    let mut deaths = Vec::new();
    for round in 0..arguments.rounds as usize {
        let number = round % SERVERS;
        deaths.push(kill(&mut servers[number], number, arguments.in_flight, &mut news).await?);
        servers[number] = start(&documents.address, &addresses[number], number)?;
        served_by(&mut news, number).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(deaths)
}

fn start(documents: &str, address: &str, number: usize) -> Result<Server, Box<dyn Error>> {
    let mut command = Program::this()?.command();
    command.args(["serve-shared", "--documents", documents, "--address", address]);
    Server::start_with(command.args(["--number", &number.to_string()]))
}

/// Kills a server; returns once all calls that were in flight have been served.
async fn kill(
    server: &mut Server,
    number: usize,
    in_flight: u32,
    news: &mut News,
) -> Result<Death, Box<dyn Error>> {
    while let Ok(before) = news.try_recv() {
        before?;
    }
    let killed = Instant::now();
    server.kill()?;
    let (mut first, mut last, mut left) = (None, killed, in_flight);
    loop {
        let served = next(news).await?;
        if served.by != number as u64 {
            first.get_or_insert(served.at);
        }
        // Each caller was in the middle of one.
        if served.begun <= killed {
            last = served.at;
            left -= 1;
        }
        if let (Some(first), 0) = (first, left) {
            return Ok(Death { first: first - killed, last: last - killed });
        }
    }
}

/// Makes one call after the other, each of which must have added once to the account.
async fn call(client: WorkClient, caller: u64, tell: UnboundedSender<Result<Served, String>>) {
    for calls in 1.. {
        let begun = Instant::now();
        let told = match transfer(&client, caller).await {
            Ok(Receipt { balance, .. }) if balance != calls * AMOUNT => {
                Err(format!("after {calls} calls the balance is {balance}"))
            }
            Ok(Receipt { id, .. }) => Ok(Served { by: id, begun, at: Instant::now() }),
            Err(error) => Err(format!("a call failed: {error}")),
        };
        if tell.send(told).is_err() {
            break;
        }
    }
}

/// Waits until this server serves.
async fn served_by(news: &mut News, number: usize) -> Result<(), Box<dyn Error>> {
    let until = Instant::now() + PATIENCE;
    while next(news).await?.by != number as u64 {
        if Instant::now() > until {
            return Err(format!("server {number} does not serve").into());
        }
    }
    Ok(())
}

async fn next(news: &mut News) -> Result<Served, Box<dyn Error>> {
    let told = tokio::time::timeout(PATIENCE, news.recv()).await;
    let told = told.map_err(|_| format!("nothing was served for {PATIENCE:?}"))?;
    Ok(told.ok_or("all callers have ended")??)
}
