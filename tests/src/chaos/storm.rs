//! Server and client processes, killed and frozen at random for a given time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::client::ClientArgs;
use super::process::{Client, Place, Record, Server, Start};
use super::{Failed, Report, bank};
use crate::history::Account;

/// A storm.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Storm {
    /// This program.
    pub program: PathBuf,
    /// How long it rages.
    pub time: Duration,
    /// What its choices are drawn from. Their effects depend on the moment, too, so a seed does not
    /// repeat a run.
    pub seed: u64,
    /// How many client processes there are.
    pub clients: usize,
    /// How many calls each has under way.
    pub in_flight: usize,
    /// How many accounts they move money among; few make more of them meet.
    pub accounts: Account,
}

/// The kinds of blows, as the report counts them.
const KINDS: [&str; 3] = ["kills", "freezes", "client kills"];
/// The pause between two blows, in milliseconds.
const BETWEEN_BLOWS: std::ops::Range<u64> = 50..400;
/// How long a killed server is away, and how long a frozen one stands still, in milliseconds.
const AWAY: std::ops::Range<u64> = 0..500;
const FROZEN: std::ops::Range<u64> = 100..3_000;
/// Far more than calls with their deadlines take once nothing goes wrong any more.
const END_LIMIT: Duration = Duration::from_secs(60);

impl Storm {
    /// A storm by this program.
    #[must_use]
    pub fn new(program: PathBuf, time: Duration, seed: u64) -> Storm {
        Storm { program, time, seed, clients: 3, in_flight: 4, accounts: 6 }
    }

    /// Over an embedded store, which one server at a time may open.
    ///
    /// # Errors
    /// If processes cannot be started.
    pub fn on_embedded(&self, runtime: &Runtime) -> Result<Report, Failed> {
        let directory = tempfile::tempdir().map_err(|error| Failed(error.to_string()))?;
        let start = Start::new(&self.program, Place::Directory(directory.path().join("data")));
        self.rage("storm on the embedded store", &start, 1, runtime)
    }

    /// Over the store of this URL, which three servers share.
    ///
    /// # Errors
    /// If processes cannot be started.
    pub fn on_shared(&self, url: &str, runtime: &Runtime) -> Result<Report, Failed> {
        let start = Start::new(&self.program, Place::Shared(url.to_owned()));
        self.rage("storm on a shared store", &start, 3, runtime)
    }

    fn rage(
        &self,
        name: &'static str,
        start: &Start,
        count: usize,
        runtime: &Runtime,
    ) -> Result<Report, Failed> {
        let servers = (0..count).map(|_| start.start_surely("127.0.0.1:0"));
        let servers = servers.collect::<Result<Vec<Server>, Failed>>()?;
        let addresses: Vec<String> = servers.iter().map(|server| server.address.clone()).collect();
        let record = Record::default();
        runtime.block_on(bank::open(&addresses, self.accounts, &record))?;

        let mut weather = Weather {
            storm: self,
            start,
            rng: fastrand::Rng::with_seed(self.seed),
            hosts: servers.into_iter().map(Host::up).collect(),
            clients: Vec::new(),
            started: 0,
            addresses: addresses.clone(),
            record: record.clone(),
            report: Report::named(name),
        };
        for _ in 0..self.clients {
            weather.start_client()?;
        }
        weather.rage()?;
        let mut report = weather.calm_down()?;

        let statements = runtime.block_on(bank::statements(&addresses, self.accounts))?;
        let (history, nonsense) = record.so_far();
        report.wrong.extend(nonsense);
        report.wrong.extend(history.check(&statements));
        report.count(&history);
        report.must_have_happened(&KINDS);
        Ok(report)
    }
}

/// A server's place: what is there, and until when it is away.
struct Host {
    server: Option<Server>,
    frozen: bool,
    until: Instant,
    address: String,
}

impl Host {
    fn up(server: Server) -> Host {
        let address = server.address.clone();
        Host { server: Some(server), frozen: false, until: Instant::now(), address }
    }

    /// Brings it back, if its time has come.
    fn come_back(&mut self, start: &Start) -> Result<(), Failed> {
        match &self.server {
            Some(server) if self.frozen => {
                server.thaw()?;
                self.frozen = false;
            }
            Some(_) => {}
            None => self.server = Some(start.start_surely(&self.address)?),
        }
        Ok(())
    }
}

struct Weather<'a> {
    storm: &'a Storm,
    start: &'a Start,
    rng: fastrand::Rng,
    hosts: Vec<Host>,
    clients: Vec<Client>,
    started: usize,
    addresses: Vec<String>,
    record: Record,
    report: Report,
}

impl Weather<'_> {
    fn rage(&mut self) -> Result<(), Failed> {
        let end = Instant::now() + self.storm.time;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(self.rng.u64(BETWEEN_BLOWS)));
            for host in &mut self.hosts {
                if host.until <= Instant::now() {
                    host.come_back(self.start)?;
                }
            }
            // Each kind once first: the shortest storm has them all.
            let missing = KINDS.iter().position(|kind| self.report.figure(kind) == 0);
            match missing.map_or_else(|| self.rng.u32(..10), |kind| [0, 4, 8][kind]) {
                0..4 => self.kill_server(),
                4..8 => self.freeze_server()?,
                8 => self.replace_client()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Kills one, also one that is frozen.
    fn kill_server(&mut self) {
        let away = Duration::from_millis(self.rng.u64(AWAY));
        let at = self.rng.usize(..self.hosts.len());
        let host = &mut self.hosts[at];
        if let Some(mut server) = host.server.take() {
            server.kill();
            host.frozen = false;
            host.until = Instant::now() + away;
            self.report.add("kills", 1);
        }
    }

    fn freeze_server(&mut self) -> Result<(), Failed> {
        let still = Duration::from_millis(self.rng.u64(FROZEN));
        let at = self.rng.usize(..self.hosts.len());
        let host = &mut self.hosts[at];
        if let (Some(server), false) = (&host.server, host.frozen) {
            server.freeze()?;
            host.frozen = true;
            host.until = Instant::now() + still;
            self.report.add("freezes", 1);
        }
        Ok(())
    }

    fn replace_client(&mut self) -> Result<(), Failed> {
        let at = self.rng.usize(..self.clients.len());
        self.clients.remove(at).kill();
        self.report.add("client kills", 1);
        self.start_client()
    }

    fn start_client(&mut self) -> Result<(), Failed> {
        self.started += 1;
        let args = ClientArgs {
            servers: self.addresses.clone(),
            name: format!("c{}", self.started),
            seed: self.rng.u64(..),
            accounts: self.storm.accounts,
            in_flight: self.storm.in_flight,
        };
        self.clients.push(Client::start(&self.storm.program, &args, &self.record)?);
        Ok(())
    }

    /// Nothing goes wrong any more: every client must end its calls, and end. Then the servers are
    /// started anew, so that nothing of a killed client is under way when the statements are read.
    fn calm_down(mut self) -> Result<Report, Failed> {
        for host in &mut self.hosts {
            host.come_back(self.start)?;
        }
        for client in self.clients.drain(..) {
            if !client.finish(END_LIMIT) {
                let wrong = format!("a client did not end its calls within {END_LIMIT:?} of calm");
                self.report.wrong.push(wrong);
            }
        }
        for host in &mut self.hosts {
            host.server = None;
            host.come_back(self.start)?;
        }
        // The hosts go on serving: who reads back needs them.
        self.report.hosts = self.hosts.into_iter().filter_map(|host| host.server).collect();
        Ok(self.report)
    }
}
