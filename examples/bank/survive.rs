//! The main job: servers, clients, everything that goes wrong between them, and the verdict.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bank_business::BankClient;
use rpc::client::Stub as _;
use rpc::store::Store;
use rpc::{Client, ClientConfig};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::cli::SurviveArgs;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::place::{open_directory, open_shared};
use crate::plan::FaultPlan;
use crate::progress::Progress;
use crate::proxy::{Faults, Link, Proxy};
use crate::read_back::read_back;
use crate::report::{Calls, ClientTotals, Latency, Report, VerdictReport};
use crate::traffic::{End, Log, Traffic, Worker};
use crate::verdict::judge;

/// How often the progress bar moves, and the end of the run is looked for.
const TICK: Duration = Duration::from_millis(50);

/// How long a client may take to settle its calls and close its session at the end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How long a client may take to connect through the faults.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Runs it, prints the table, and says whether all is right.
pub(crate) async fn survive(args: &SurviveArgs) -> Result<bool, Failure> {
    let plan = Arc::new(args.faults.plan());
    let json = args.json.as_deref().map(JsonFile::create).transpose()?;
    // Held until the run is over: it may be a temporary directory.
    let mut data = None;
    let opened = match &args.store {
        Some(url) => open_shared(url).await?,
        None => open_directory(data.insert(DataDir::take(args.data.as_deref())?).path())?,
    };
    eprintln!(
        "seed {}: {} servers over {}, {} clients",
        plan.seed, args.servers, opened.name, args.clients
    );
    let report = run(args, &plan, opened.store).await?;
    println!("{report}");
    if !report.verdict.right {
        println!("The same faults again: --seed {}", plan.seed);
    }
    if let Some(json) = json {
        json.write(&report)?;
    }
    Ok(report.verdict.right)
}

async fn run(
    args: &SurviveArgs,
    plan: &Arc<FaultPlan>,
    store: Arc<dyn Store>,
) -> Result<Report, Failure> {
    let faults = Arc::new(Faults::default());
    let fleet = Fleet::start(store, usize_of(args.servers)).await?;
    let servers = fleet.addresses();
    let (be_quiet, quiet) = oneshot::channel();
    let schedule = plan.schedule(servers.len());
    let torment = tokio::spawn(fleet.torment(schedule, Arc::clone(&faults), quiet));

    let clients = Clients::connect(args, plan, &servers, &faults).await?;
    let traffic = Arc::new(traffic(args));
    let interrupt = tokio::spawn(stop_at_ctrl_c(Arc::clone(&traffic)));
    let progress = Progress::new(traffic.end);
    let work = Work { traffic: &traffic, faults: &faults, progress: &progress };
    let log = work.until_over(&clients, plan, args.in_flight, be_quiet).await?;
    let seconds = traffic.elapsed().as_secs_f64();
    interrupt.abort();

    progress.say("starting stopped servers again");
    let fleet = torment.await.map_err(Failure::failed)??;
    let clients_did = clients.totals();
    clients.shutdown().await;
    progress.say("reading all statements back");
    let statements = read_back(&servers, &traffic.accounts).await?;
    progress.clear();
    let servers_did = fleet.totals();
    fleet.stop().await;

    let Log { history, waits, reads, failed_reads } = log;
    let calls = Calls::count(&history, reads, failed_reads);
    let verdict = VerdictReport::from(&judge(&history, &statements));
    Ok(Report {
        seed: plan.seed,
        seconds,
        servers: args.servers,
        clients: args.clients,
        calls,
        calls_per_second: calls.all as f64 / seconds,
        latency_ms: Latency::of(waits),
        clients_did,
        servers_did,
        faults: faults.counts(),
        verdict,
    })
}

fn traffic(args: &SurviveArgs) -> Traffic {
    // Not from the seed: a second run with it may use the same data directory.
    let tag = format!("r{:08x}", fastrand::u32(..));
    let end = args.calls.map_or(End::After(args.duration), End::Calls);
    let workers = usize_of(args.clients * args.in_flight);
    Traffic::new(tag, args.accounts, args.deadline, end, workers)
}

/// The first ctrl-c ends the calls, and the verdict comes at once; the second ends the process.
async fn stop_at_ctrl_c(traffic: Arc<Traffic>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        traffic.stop();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}

/// The clients, each with a bad network of its own to each server.
struct Clients {
    banks: Vec<BankClient>,
    /// Held for as long as the clients use them.
    _proxies: Vec<Proxy>,
}

impl Clients {
    async fn connect(
        args: &SurviveArgs,
        plan: &Arc<FaultPlan>,
        servers: &[SocketAddr],
        faults: &Arc<Faults>,
    ) -> Result<Clients, Failure> {
        let config = ClientConfig::default().deadline(args.deadline).settle_grace(args.grace);
        let mut proxies = Vec::new();
        let mut connecting = JoinSet::new();
        for client in 0..usize_of(args.clients) {
            let mut addresses = Vec::new();
            for (server, target) in servers.iter().enumerate() {
                let link = Link { client, server, target: *target };
                let proxy = Proxy::start(link, Arc::clone(plan), Arc::clone(faults)).await;
                let proxy = proxy.map_err(|error| {
                    Failure::failed(format!("no port for a proxy ({error}): use fewer clients"))
                })?;
                addresses.push(proxy.address());
                proxies.push(proxy);
            }
            connecting.spawn(connect(addresses, config.clone()));
        }
        let mut banks = Vec::new();
        while let Some(bank) = connecting.join_next().await {
            banks.push(bank.map_err(Failure::failed)??);
        }
        Ok(Clients { banks, _proxies: proxies })
    }

    /// Closes their sessions, once all of their calls are settled.
    async fn shutdown(self) {
        let mut closing = JoinSet::new();
        for bank in self.banks {
            closing.spawn(bank.client().clone().shutdown(SHUTDOWN_LIMIT));
        }
        closing.join_all().await;
    }

    /// What all of them did about faults.
    fn totals(&self) -> ClientTotals {
        let mut totals = ClientTotals::default();
        for bank in &self.banks {
            let stats = bank.client().stats();
            totals.retries += stats.retries;
            totals.failovers += stats.failovers;
            totals.resent_responses += stats.resent_responses;
        }
        totals
    }
}

/// Connects through the faults.
async fn connect(servers: Vec<SocketAddr>, config: ClientConfig) -> Result<BankClient, Failure> {
    let servers = servers.iter().map(ToString::to_string);
    let connecting = Client::builder().config(config).connect_limit(CONNECT_LIMIT);
    let bank = connecting.connect::<BankClient>(servers).await;
    bank.map_err(|error| Failure::failed(format!("a client found no server: {error}")))
}

/// The part of a run in which calls are made.
struct Work<'a> {
    traffic: &'a Arc<Traffic>,
    faults: &'a Arc<Faults>,
    progress: &'a Progress,
}

impl Work<'_> {
    /// Lets all workers work. Once no more calls are made, the faults stop, and those under way
    /// find their end.
    async fn until_over(
        &self,
        clients: &Clients,
        plan: &FaultPlan,
        in_flight: u64,
        be_quiet: oneshot::Sender<()>,
    ) -> Result<Log, Failure> {
        let mut working = JoinSet::new();
        for bank in &clients.banks {
            for _ in 0..in_flight {
                let number = working.len();
                let rng = plan.choices(number);
                let worker = Worker::new(Arc::clone(self.traffic), bank.clone(), number, rng);
                working.spawn(worker.work());
            }
        }
        let mut be_quiet = Some(be_quiet);
        let mut tick = tokio::time::interval(TICK);
        let mut all = Log::default();
        loop {
            tokio::select! {
                log = working.join_next() => match log {
                    Some(log) => all.append(log.map_err(Failure::failed)?),
                    None => return Ok(all),
                },
                _ = tick.tick() => {
                    self.progress.show(self.traffic, self.faults);
                    if self.traffic.is_over() && let Some(be_quiet) = be_quiet.take() {
                        self.faults.calm_down();
                        // Its receiver is gone only if the fleet failed, which shows later.
                        let _ = be_quiet.send(());
                    }
                }
            }
        }
    }
}

/// Where the store lies: a directory that stays, or one that goes with the run.
enum DataDir {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl DataDir {
    fn take(kept: Option<&Path>) -> Result<DataDir, Failure> {
        match kept {
            Some(path) => Ok(DataDir::Kept(path.to_owned())),
            None => tempfile::tempdir().map(DataDir::Temporary).map_err(|error| {
                Failure::unusable(format!("no temporary directory ({error}): name one with --data"))
            }),
        }
    }

    fn path(&self) -> &Path {
        match self {
            DataDir::Kept(path) => path,
            DataDir::Temporary(directory) => directory.path(),
        }
    }
}

/// The file of `--json`, made before the run: a wrong path must not cost a run.
struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    fn create(path: &Path) -> Result<JsonFile, Failure> {
        let file = File::create(path).map_err(|error| {
            Failure::unusable(format!("cannot write {} ({error}): name another", path.display()))
        })?;
        Ok(JsonFile { path: path.to_owned(), file })
    }

    fn write(mut self, report: &Report) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("cannot write {}: {error}", self.path.display()))
        };
        let mut text = serde_json::to_vec_pretty(report).map_err(|error| failed(&error))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(|error| failed(&error))
    }
}

fn usize_of(flag: u64) -> usize {
    usize::try_from(flag).expect("flags of numbers have small ranges")
}
