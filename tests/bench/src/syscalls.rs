//! System calls of a process, counted by `strace`.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::counted::Counted;
use crate::process::{Load, Program, Server};
use crate::work::Contender;

/// How much longer the longer run is.
const LONGER: u32 = 4;
/// Until a server has seen the end of a client.
const ENDING: Duration = Duration::from_millis(50);

/// What a call takes: on the client, on the server.
pub(crate) fn per_call(
    contender: Contender,
    in_flight: usize,
    time: Duration,
) -> Result<[f64; 2], Box<dyn Error>> {
    let shorter = count(contender, in_flight, time)?;
    Ok(count(contender, in_flight, time * LONGER)?.per_call_beyond(&shorter))
}

fn count(
    contender: Contender,
    in_flight: usize,
    time: Duration,
) -> Result<Counted, Box<dyn Error>> {
    let program = Program::this()?;
    let server = Server::start(&program, contender)?;
    let mut load = Load::start(&program, contender, &server.address, in_flight, time)?;
    let of_client = Count::attach(load.id())?;
    let of_server = Count::attach(server.id())?;
    let calls = load.go()?.calls as f64;
    // All of the end is in both runs, on either side.
    load.end()?;
    std::thread::sleep(ENDING);
    Ok(Counted { calls, client: of_client.detach()?, server: of_server.detach()? })
}

/// A count that runs.
struct Count {
    strace: Child,
    summary: NamedTempFile,
}

/// Whether there is a `strace` that may trace.
pub(crate) fn can_count() -> bool {
    let tried = Command::new("strace")
        .args(["-c", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

impl Count {
    /// Counts from here on, in all threads.
    fn attach(process: u32) -> Result<Count, Box<dyn Error>> {
        let summary = NamedTempFile::new()?;
        let mut strace = Command::new("strace")
            .args(["-f", "-c", "-o"])
            .arg(summary.path())
            .args(["-p", &process.to_string()])
            .stderr(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let mut lines = BufReader::new(strace.stderr.take().ok_or("strace has no output")?);
        lines.read_line(&mut said)?;
        if !said.contains("attached") {
            let _ended = (strace.kill(), strace.wait());
            return Err(format!("strace does not trace process {process}: {}", said.trim()).into());
        }
        // Whatever else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(Count { strace, summary })
    }

    /// The system calls since then.
    fn detach(mut self) -> Result<f64, Box<dyn Error>> {
        let process = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        kill_process(process.ok_or("strace has no process id")?, Signal::INT)?;
        self.strace.wait()?;
        let summary = std::fs::read_to_string(self.summary.path())?;
        total(&summary).ok_or_else(|| format!("strace counted nothing: {summary:?}").into())
    }
}

/// The calls in the last line of a summary: `100.00 0.01 2 4321 [errors] total`.
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_with_and_without_errors() {
        let head = "% time     seconds  usecs/call     calls    errors syscall\n";
        let with = "100.00    0.010000           2      4321        17 total\n";
        let without = "100.00    0.010000           2      4321           total\n";
        assert_eq!(total(&format!("{head}{with}")), Some(4321.0));
        assert_eq!(total(&format!("{head}{without}")), Some(4321.0));
        assert_eq!(total(head), None);
    }
}
