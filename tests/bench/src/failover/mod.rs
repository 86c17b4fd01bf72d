//! A server's death: how long it takes from `kill -9` until another server has served a call.
//!
//! Three servers, processes of their own, on one store (`store.rs`). The client has calls in flight
//! all the time. Whoever serves them is killed, and started again once another one has served.

pub(crate) mod store;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc::store::Store;
use rpc::store::cas::CasStore;
use rpc::{Client, Server as RpcServer, Tx};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::contender::ours::{Name, Receipt, Work, WorkClient, WorkServer, add, transfer};
use crate::process::{Program, Server};
use crate::table::{load_average, median, progress};

const SERVERS: usize = 3;
/// What the first call served may take.
const TARGET: Duration = Duration::from_millis(500);
/// A round that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// What the callers have seen last.
#[derive(Default)]
struct Seen {
    last: Cell<Option<(u64, Instant)>>,
    news: Notify,
    failed: RefCell<Option<String>>,
    over: Cell<bool>,
}

/// Measures and prints a table as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let load = load_average();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut times = runtime.block_on(LocalSet::new().run_until(kill_by_turns(arguments)))?;
    times.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{SERVERS} servers, {} calls in flight, {} deaths; load of the last minute before: {load}.\n",
        arguments.in_flight, arguments.rounds
    );
    println!("| from kill -9 to the first call that another server has served | ms |");
    println!("| --- | ---: |");
    println!("| median | {:.1} |", median(times.iter().map(|time| millis(*time))));
    let worst = times.last().copied().unwrap_or_default();
    println!("| longest | {:.1} |", millis(worst));
    let holds = if worst <= TARGET { "holds" } else { "**does not hold**" };
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    println!("| the longest, ms | ≤ {:.0} | {:.1} | {holds} |", millis(TARGET), millis(worst));
    Ok(())
}

async fn kill_by_turns(arguments: &Arguments) -> Result<Vec<Duration>, Box<dyn Error>> {
    let program = Program::this()?;
    let documents = Server::start_with(program.command().arg("serve-documents"))?;
    let start = |address: &str, number: usize| {
        Server::start_with(
            program.command().args(["serve-shared", "--documents", &documents.address]).args([
                "--address",
                address,
                "--number",
                &number.to_string(),
            ]),
        )
    };
    let mut servers = Vec::new();
    for number in 0..SERVERS {
        servers.push(start("127.0.0.1:0", number)?);
    }
    let addresses: Vec<String> = servers.iter().map(|server| server.address.clone()).collect();
    let client: WorkClient = Client::builder().connect(addresses.iter().cloned()).await?;
    let seen = Rc::new(Seen::default());
    let callers: Vec<_> = (0..u64::from(arguments.in_flight))
        .map(|caller| tokio::task::spawn_local(call(client.clone(), caller, Rc::clone(&seen))))
        .collect();
    let bar = progress(arguments.rounds as usize);
    let mut times = Vec::new();
    for _ in 0..arguments.rounds {
        let (number, _) = next(&seen, |_, _| true).await?;
        let victim = number as usize;
        servers[victim].kill()?;
        let killed = Instant::now();
        let (_, served) = next(&seen, |by, at| by != number && at > killed).await?;
        times.push(served - killed);
        servers[victim] = start(&addresses[victim], victim)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    seen.over.set(true);
    for caller in callers {
        caller.await?;
    }
    Ok(times)
}

async fn call(client: WorkClient, caller: u64, seen: Rc<Seen>) {
    while !seen.over.get() {
        match transfer(&client, caller).await {
            Ok(receipt) => seen.last.set(Some((receipt.id, Instant::now()))),
            Err(error) => *seen.failed.borrow_mut() = Some(error.to_string()),
        }
        seen.news.notify_one();
    }
}

/// The next call that was served as is wanted.
async fn next(
    seen: &Seen,
    wanted: impl Fn(u64, Instant) -> bool,
) -> Result<(u64, Instant), Box<dyn Error>> {
    seen.last.set(None);
    let found = async {
        loop {
            seen.news.notified().await;
            if let Some(failed) = seen.failed.take() {
                return Err(format!("a call failed: {failed}"));
            }
            if let Some((by, at)) = seen.last.get().filter(|(by, at)| wanted(*by, *at)) {
                return Ok((by, at));
            }
        }
    };
    Ok(tokio::time::timeout(PATIENCE, found).await.map_err(|_| "no other server has served")??)
}
