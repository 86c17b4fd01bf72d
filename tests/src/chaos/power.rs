//! The power fails after every sync: what was not synced is gone.
//!
//! `strace` stops the server's process at the end of each of its syncs. While it stands still, its
//! files are copied: they are what a power cut would leave before the next sync at worst, all that
//! was written since being lost. Whatever was acknowledged before the next sync has ended must be
//! found in the copy. What is a stop, the log of `strace` tells: a process that has just been let go
//! looks stopped for a moment, and to let it go twice would undo its next stop. (Other ways in which unsynced writes can survive are enumerated in one process,
//! on a simulated disk; see the test `store/faults.rs`.)

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bank_business::{BankServer, BankService};
use rpc::Server;
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use tokio::runtime::Runtime;

use super::heard::{Heard, Statements};
use super::process::{Place, Record, Start};
use super::steps::{ACCOUNTS, play};
use super::{Failed, Report, bank, strace};

/// The script takes a second or two.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(1);
const EVERY_SYNC: &str = "fsync,fdatasync:signal=STOP";

/// A copy of the files at the end of a sync, what was acknowledged until the next one ended, and what
/// was until the one after that.
struct Found {
    files: tempfile::TempDir,
    known: Heard,
    known_later: Heard,
}

/// Cuts the power after every sync of the script.
///
/// # Errors
/// If processes cannot be started, or files not be copied.
pub fn power_cuts(program: &Path, runtime: &Runtime) -> Result<Report, Failed> {
    let failed = |error: std::io::Error| Failed(error.to_string());
    let mut report = Report::named("unsynced writes lost");
    let directory = tempfile::tempdir().map_err(failed)?;
    let data = directory.path().join("data");
    let plain = Start::new(program, Place::Directory(data.clone()));
    // Opened once, so that what is synced from now on is calls.
    drop(plain.start_surely("127.0.0.1:0")?);
    let log = directory.path().join("strace");
    let record = Record::default();
    let found = runtime.block_on(async {
        let traced = plain.by(strace::injecting(EVERY_SYNC, &log));
        watch(traced, &data, &log, &record).await
    })?;
    for (number, Found { files, known, known_later }) in found.iter().enumerate() {
        let place = format!("power cut {number}");
        let statements = match runtime.block_on(look_at(files.path()))? {
            Ok(statements) => statements,
            Err(wrong) => {
                report.wrong.push(format!("{place}: {wrong}"));
                continue;
            }
        };
        let wrong = known.check(&statements);
        report.wrong.extend(wrong.into_iter().map(|wrong| format!("{place}: {wrong}")));
        report.add("power cuts", 1);
        // The check of the check: what a later sync made durable is missed in an earlier copy.
        let missed = known_later.check(&statements).is_some();
        report.add("later calls missed", usize::from(missed));
    }
    report.count(&record.so_far().0);
    report.must_have_happened(&["power cuts", "later calls missed"]);
    Ok(report)
}

/// Plays the script, and copies the files at the end of every sync.
async fn watch(
    traced: Start,
    data: &Path,
    log: &Path,
    record: &Record,
) -> Result<Vec<Found>, Failed> {
    let mut found: Vec<Found> = Vec::new();
    // The server says that it listens only after it has synced: it is let go until then.
    let starting = tokio::task::spawn_blocking(move || traced.start_let_go("127.0.0.1:0"));
    let server = starting.await.map_err(|panic| Failed(panic.to_string()))??;
    let server = server.ok_or_else(|| Failed("a server under strace does not start".to_owned()))?;
    let mut stops = stops_in(log)?;
    let never_stuck = Arc::new(AtomicBool::new(false));
    let script = tokio::spawn(play(server.address.clone(), record.clone(), never_stuck));
    let since = Instant::now();
    while !script.is_finished() {
        if since.elapsed() > LIMIT {
            return Err(Failed("the script does not end under strace".to_owned()));
        }
        let seen = if server.is_stopped() { stops_in(log)? } else { stops };
        if seen > stops {
            stops = seen;
            let files = tempfile::tempdir().map_err(|error| Failed(error.to_string()))?;
            copy(data, files.path()).map_err(|error| Failed(error.to_string()))?;
            // What this sync makes durable is answered only after it: the copy before has the rest.
            note(&mut found, record);
            let known = record.so_far().0;
            found.push(Found { files, known: known.clone(), known_later: known });
            server.thaw()?;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    let played = script.await.map_err(|panic| Failed(panic.to_string()))?;
    played.map_err(Failed)?;
    note(&mut found, record);
    Ok(found)
}

/// Notes what was acknowledged until now, for the last copy and for the one before it.
fn note(found: &mut [Found], record: &Record) {
    let now = record.so_far().0;
    if let [.., earlier, last] = found {
        last.known = now.clone();
        earlier.known_later = now;
    } else if let [only] = found {
        only.known = now;
    }
}

/// How often a process was stopped, by the log of its `strace`.
fn stops_in(log: &Path) -> Result<usize, Failed> {
    let said = std::fs::read(log).map_err(|error| Failed(format!("the log of strace: {error}")))?;
    Ok(String::from_utf8_lossy(&said).matches("--- SIGSTOP {").count())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Opens what was found, and reads the statements there; `Err`: it cannot be opened.
async fn look_at(files: &Path) -> Result<Result<Statements, String>, Failed> {
    let store = match EmbeddedStore::open(files, EmbeddedConfig::default()) {
        Ok(store) => Arc::new(store),
        Err(error) => return Ok(Err(format!("it cannot be opened: {error}"))),
    };
    let server = Server::builder(BankServer::new(BankService), store).bind("127.0.0.1:0").await;
    let server = server.map_err(|error| Failed(error.to_string()))?;
    let address = server.local_addr().to_string();
    let serving = tokio::spawn(server.serve());
    let statements = bank::statements(&[address], ACCOUNTS).await;
    serving.abort();
    Ok(Ok(statements?))
}
