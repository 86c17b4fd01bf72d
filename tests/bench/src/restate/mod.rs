//! Beside Restate, whose server keeps calls in a log of its own and asks a handler to do the work.
//!
//! Its server and its SDK are not built here: `npm install @restatedev/restate-server
//! @restatedev/restate-sdk` puts them into a directory, which `--peer` names. The handler
//! (`handler.js`) runs in node; callers speak HTTP/1.1, a connection each (`http.rs`), and give each
//! call an idempotency key. The work is the write of the other contenders.

mod http;

use std::cell::Cell;
use std::error::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use self::http::Connection;
use crate::contender::ours::{self, account_name};
use crate::process::{Program, Server};
use crate::table::{load_average, median, progress, thousands};
use crate::work::{Contender, IN_FLIGHT};

/// How long its server may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server's package has the name of the platform at its end.
const PACKAGES: &str = "node_modules/@restatedev";

/// What `restate` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where npm has installed @restatedev/restate-server and @restatedev/restate-sdk.
    #[arg(long)]
    peer: PathBuf,
    /// Rounds; the median of each figure is shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// How long each measurement of a round takes.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    millis: u64,
}

#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    p50_micros: f64,
}

/// Measures and prints a table as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let load = load_average();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let time = Duration::from_millis(arguments.millis);
    let rounds = runtime.block_on(LocalSet::new().run_until(async {
        let restate = Restate::start(&arguments.peer).await?;
        let server = Server::start(&Program::this()?, Contender::WriteEmbedded)?;
        let bar = progress(arguments.rounds as usize);
        let mut rounds = Vec::new();
        for _ in 0..arguments.rounds {
            let mut round = Vec::new();
            for in_flight in IN_FLIGHT {
                let ours = ours(&server.address, in_flight, time).await?;
                round.push((ours, restate.load(in_flight, time).await?));
            }
            rounds.push(round);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok::<_, Box<dyn Error>>(rounds)
    }))?;
    println!(
        "Medians of {} interleaved rounds of {} ms; load of the last minute before: {load}.\n",
        arguments.rounds, arguments.millis
    );
    print(&rounds);
    Ok(())
}

fn print(rounds: &[Vec<(Measured, Measured)>]) {
    println!("| in flight | contender | calls/s | p50 µs |\n| ---: | --- | ---: | ---: |");
    type Side = fn(&(Measured, Measured)) -> Measured;
    let sides: [(&str, Side); 2] = [("write-embedded", |both| both.0), ("Restate", |both| both.1)];
    for (at, in_flight) in IN_FLIGHT.into_iter().enumerate() {
        for (name, side) in sides {
            let of = |figure: fn(Measured) -> f64| {
                median(rounds.iter().map(|round| figure(side(&round[at]))))
            };
            println!(
                "| {in_flight} | {name} | {} | {:.0} |",
                thousands(of(|m| m.per_second)),
                of(|m| m.p50_micros)
            );
        }
    }
    let ratio = |at: usize, figure: fn(Measured) -> f64| {
        median(rounds.iter().map(|round| figure(round[at].0) / figure(round[at].1)))
    };
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    let holds = |holds| if holds { "holds" } else { "**does not hold**" };
    for (at, in_flight) in IN_FLIGHT.into_iter().enumerate().skip(1) {
        let times = ratio(at, |m| m.per_second);
        println!(
            "| calls/s at {in_flight}, × Restate's | ≥ 20 | {times:.1} | {} |",
            holds(times >= 20.0)
        );
    }
    let p50 = ratio(0, |m| m.p50_micros);
    println!("| p50 at 1, × Restate's | ≤ 0.1 | {p50:.3} | {} |", holds(p50 <= 0.1));
}

async fn ours(address: &str, in_flight: usize, time: Duration) -> Result<Measured, Box<dyn Error>> {
    let client = ours::connect(address).await?;
    let callers = (0..in_flight).map(|caller| {
        let client = client.clone();
        move || {
            let write = ours::write(client.clone(), caller);
            async move {
                write.await;
                Ok(())
            }
        }
    });
    drive(callers.collect(), time).await
}

/// Lets each caller make one call after the other, for this long.
async fn drive<F: Future<Output = Result<(), String>> + 'static>(
    callers: Vec<impl FnMut() -> F + 'static>,
    time: Duration,
) -> Result<Measured, Box<dyn Error>> {
    let start = Instant::now();
    let running: Vec<_> = callers
        .into_iter()
        .map(|mut call| {
            tokio::task::spawn_local(async move {
                let mut each = Vec::new();
                while start.elapsed() < time {
                    let begun = Instant::now();
                    call().await?;
                    each.push(begun.elapsed().as_secs_f64() * 1e6);
                }
                Ok::<_, String>(each)
            })
        })
        .collect();
    let mut each = Vec::new();
    for caller in running {
        each.extend(caller.await??);
    }
    let per_second = each.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Measured { per_second, p50_micros: median(each.into_iter()) })
}

/// A running server of Restate with its handler; ended with this.
struct Restate {
    _processes: [Ended; 2],
    _data: tempfile::TempDir,
    ingress: String,
    /// What makes idempotency keys differ.
    calls: Rc<Cell<u64>>,
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Restate {
    async fn start(peer: &Path) -> Result<Restate, Box<dyn Error>> {
        let data = tempfile::tempdir()?;
        let [ingress, admin, node, handler] = free_addresses()?;
        let peer = peer.canonicalize()?;
        let handler_port = handler.rsplit(':').next().unwrap_or_default();
        let runs_handler = Command::new("node")
            .args(["-e", include_str!("handler.js")])
            .env("NODE_PATH", peer.join("node_modules"))
            .env("HANDLER_PORT", handler_port)
            .env("RESTATE_LOGGING", "ERROR")
            .stdout(Stdio::null())
            .spawn()?;
        let serves = Command::new(server_program(&peer)?)
            .current_dir(data.path())
            .arg("--no-logo")
            .env("RESTATE_LISTEN_MODE", "tcp")
            .env("RESTATE_BASE_DIR", data.path())
            .env("RESTATE_BIND_ADDRESS", &node)
            .env("RESTATE_ADVERTISED_ADDRESS", format!("http://{node}"))
            .env("RESTATE_INGRESS__BIND_ADDRESS", &ingress)
            .env("RESTATE_ADMIN__BIND_ADDRESS", &admin)
            .env("RESTATE_DISABLE_TELEMETRY", "true")
            .env("RESTATE_LOG_FILTER", "error")
            .stdout(Stdio::null())
            .spawn()?;
        let processes = [Ended(serves), Ended(runs_handler)];
        let deployed = async {
            while deploy(&admin, &handler).await.is_none() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            while !is_served(&ingress).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, deployed).await;
        waited.map_err(|_| "Restate does not serve: see what it has printed")?;
        Ok(Restate { _processes: processes, _data: data, ingress, calls: Rc::default() })
    }

    async fn load(&self, in_flight: usize, time: Duration) -> Result<Measured, Box<dyn Error>> {
        let mut callers = Vec::new();
        for caller in 0..in_flight as u64 {
            let connection = Connection::open(&self.ingress).await?;
            let connection = Rc::new(tokio::sync::Mutex::new(connection));
            let path = Rc::new(format!("/Account/{}/write", account_name(caller)));
            let calls = Rc::clone(&self.calls);
            callers.push(move || {
                calls.set(calls.get() + 1);
                write(Rc::clone(&connection), Rc::clone(&path), calls.get())
            });
        }
        drive(callers, time).await
    }
}

async fn write(
    connection: Rc<tokio::sync::Mutex<Connection>>,
    path: Rc<String>,
    call: u64,
) -> Result<(), String> {
    let key = format!("idempotency-key: call-{call}\r\n");
    match connection.lock().await.ask("POST", &path, &key, "100").await {
        Ok(200) => Ok(()),
        Ok(status) => Err(format!("Restate answers with status {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Tells the server where the handler is; `None` if it does not listen yet.
async fn deploy(admin: &str, handler: &str) -> Option<()> {
    let mut connection = Connection::open(admin).await.ok()?;
    let body = format!("{{\"uri\":\"http://{handler}\"}}");
    match connection.ask("POST", "/deployments", "", &body).await {
        Ok(200 | 201) => Some(()),
        _ => None,
    }
}

/// Whether a call is served: some time passes after the deployment.
async fn is_served(ingress: &str) -> bool {
    let Ok(mut connection) = Connection::open(ingress).await else { return false };
    matches!(connection.ask("POST", "/Account/first/write", "", "100").await, Ok(200))
}

fn server_program(peer: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let packages = peer.join(PACKAGES);
    let found = std::fs::read_dir(&packages)
        .map_err(|error| {
            format!("{}: {error}: is that where npm has installed it?", packages.display())
        })?
        .filter_map(Result::ok)
        .map(|package| package.path().join("bin/restate-server"))
        .find(|program| program.is_file());
    Ok(found.ok_or("there is no server of Restate for this platform")?)
}

/// Four addresses of this machine that nobody listens on.
fn free_addresses() -> Result<[String; 4], Box<dyn Error>> {
    let listeners: Vec<TcpListener> =
        (0..4).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<String> = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()))
        .collect::<Result<_, std::io::Error>>()?;
    Ok(addresses.try_into().expect("there are four"))
}
