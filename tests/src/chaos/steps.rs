//! A short script, run again and again, with a fault at one system call of the server after the
//! other: each time one later, until the script ends before the fault strikes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bank_business::BankClient;
use rpc::Client;
use rpc::client::Stub as _;
use tokio::runtime::Runtime;

use super::bank;
use super::client::{config, make, now};
use super::heard::Line;
use super::process::{Place, Record, Start};
use super::{Failed, Report, strace};
use crate::history::{Account, Ask, Ended};

/// What goes wrong at a system call of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAt {
    /// It is killed before one that changes the store's file, or makes it durable.
    StoreKill,
    /// It is killed before one on its sockets.
    SocketKill,
    /// The disk is full from one write on.
    FullDisk,
    /// One sync fails.
    FailedSync,
}

impl FaultAt {
    /// All of them.
    pub const ALL: [FaultAt; 4] =
        [FaultAt::StoreKill, FaultAt::SocketKill, FaultAt::FullDisk, FaultAt::FailedSync];

    fn name(self) -> &'static str {
        match self {
            FaultAt::StoreKill => "killed at store calls",
            FaultAt::SocketKill => "killed at socket calls",
            FaultAt::FullDisk => "disk full",
            FaultAt::FailedSync => "sync fails",
        }
    }

    /// The system calls that it strikes at.
    fn calls(self) -> &'static [&'static str] {
        match self {
            FaultAt::StoreKill => &[
                "pwrite64",
                "fdatasync",
                "fsync",
                "ftruncate",
                "flock",
                "rename",
                "unlink",
                "mkdir",
            ],
            FaultAt::SocketKill => &["bind", "listen", "accept4", "recvfrom", "sendto"],
            FaultAt::FullDisk => &["pwrite64", "ftruncate"],
            FaultAt::FailedSync => &["fdatasync", "fsync"],
        }
    }

    /// What strikes at the call of this number. A disk that is full stays full.
    fn injection(self, call: &str, number: usize) -> String {
        match self {
            FaultAt::StoreKill | FaultAt::SocketKill => format!("{call}:signal=KILL:when={number}"),
            FaultAt::FullDisk => format!("{call}:error=ENOSPC:when={number}+"),
            FaultAt::FailedSync => format!("{call}:error=EIO:when={number}"),
        }
    }
}

/// A script with a fault at every system call of one kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Enumeration {
    /// This program.
    pub program: PathBuf,
    /// What goes wrong.
    pub fault: FaultAt,
    /// At every how many-th call: 1 takes them all.
    pub every: usize,
}

/// What the script asks for, in this order.
pub(super) const SCRIPT: [Ask; 8] = [
    Ask::Open(0),
    Ask::Open(1),
    Ask::Deposit(0, 10_000),
    Ask::Deposit(1, 5_000),
    Ask::Transfer(0, 1, 1_000),
    Ask::Withdraw(1, 500),
    Ask::Transfer(1, 0, 2_000),
    Ask::Last(0),
];
pub(super) const ACCOUNTS: Account = 2;
/// How long one try of a call lasts. One that was not executed is made anew, as another call.
const DEADLINE: Duration = Duration::from_millis(500);
const MOST_TRIES: usize = 20;
/// A script takes a second or two.
const SCRIPT_LIMIT: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(2);
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

impl Enumeration {
    /// All calls of one kind.
    #[must_use]
    pub fn new(program: PathBuf, fault: FaultAt) -> Enumeration {
        Enumeration { program, fault, every: 1 }
    }

    /// Runs the script once for each call.
    ///
    /// # Errors
    /// If processes cannot be started.
    pub fn run(&self, runtime: &Runtime) -> Result<Report, Failed> {
        let mut report = Report::named(self.fault.name());
        for call in self.fault.calls() {
            for number in (1..).step_by(self.every.max(1)) {
                if !self.strike(call, number, runtime, &mut report)? {
                    break;
                }
                report.add("faults", 1);
            }
        }
        report.must_have_happened(&["faults"]);
        Ok(report)
    }

    /// Runs the script once. Returns whether the fault has struck.
    fn strike(
        &self,
        call: &str,
        number: usize,
        runtime: &Runtime,
        report: &mut Report,
    ) -> Result<bool, Failed> {
        let directory = tempfile::tempdir().map_err(|error| Failed(error.to_string()))?;
        let log = directory.path().join("strace");
        let plain = Start::new(&self.program, Place::Directory(directory.path().join("data")));
        let traced = plain.by(strace::injecting(&self.fault.injection(call, number), &log));
        let mut restarts = 0;
        let mut server = match traced.start("127.0.0.1:0")? {
            Some(server) => server,
            None => {
                restarts += 1;
                plain.start_surely("127.0.0.1:0")?
            }
        };
        let (record, is_stuck) = (Record::default(), Arc::new(AtomicBool::new(false)));
        let script = play(server.address.clone(), record.clone(), Arc::clone(&is_stuck));
        let script = runtime.spawn(script);
        let since = Instant::now();
        while !script.is_finished() && since.elapsed() < SCRIPT_LIMIT {
            if server.has_ended() || is_stuck.swap(false, Ordering::Relaxed) {
                restarts += 1;
                server.kill();
                server = plain.start_surely(&server.address.clone())?;
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        let place = format!("{}, {call} {number}", self.fault.name());
        if !script.is_finished() {
            report.wrong.push(format!("{place}: the script does not end"));
            return Ok(true);
        }
        if let Err(wrong) = runtime.block_on(script).map_err(|panic| Failed(panic.to_string()))? {
            report.wrong.push(format!("{place}: {wrong}"));
        }
        server.kill();
        let server = plain.start_surely("127.0.0.1:0")?;
        let address = [server.address.clone()];
        let statements = runtime.block_on(bank::statements(&address, ACCOUNTS))?;
        let (history, nonsense) = record.so_far();
        let wrong = nonsense.into_iter().chain(history.check(&statements));
        report.wrong.extend(wrong.map(|wrong| format!("{place}: {wrong}")));
        report.count(&history);
        report.add("restarts", restarts);
        Ok(restarts > 0 || has_struck(&log))
    }
}

/// Whether an error was injected that the server could live with.
fn has_struck(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|log| log.contains("(INJECTED)"))
}

/// Makes the script's calls one after the other until each is done. Sets `is_stuck` when a call was
/// not: a store that has failed answers no more until its server was started again.
pub(super) async fn play(
    server: String,
    record: Record,
    is_stuck: Arc<AtomicBool>,
) -> Result<(), String> {
    let client = Client::builder().config(config().deadline(DEADLINE)).connect_limit(SCRIPT_LIMIT);
    let bank: BankClient = client.connect([server]).await.map_err(|error| error.to_string())?;
    for (step, ask) in SCRIPT.iter().enumerate() {
        let mut tries = 0;
        loop {
            let call = format!("step-{step}-{tries}");
            record.say(&Line::Begin { call: call.clone(), at: now(), ask: *ask });
            let ended = make(&bank, &call, *ask, &|| is_stuck.store(true, Ordering::Relaxed)).await;
            record.say(&Line::End { call, at: now(), ended: ended.clone() });
            match ended {
                Ended::Done { .. } | Ended::Last(_) => break,
                // Asked for again and again, on a server that works again: it must be settled.
                Ended::Lost(_) => return Err(format!("step {step} stays unknown")),
                _ => is_stuck.store(true, Ordering::Relaxed),
            }
            tries += 1;
            if tries == MOST_TRIES {
                return Err(format!("step {step} is not done in {MOST_TRIES} tries"));
            }
        }
    }
    bank.client().clone().shutdown(SHUTDOWN_LIMIT).await;
    Ok(())
}
