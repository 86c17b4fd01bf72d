//! Instructions of a process in user space, counted by valgrind.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::counted::Counted;
use crate::process::{Load, Program, Server, WARM_UP};
use crate::work::Contender;

/// A run, and one that is longer: what the longer one takes more, its additional calls take.
const TIMES: [Duration; 2] = [Duration::from_millis(1000), Duration::from_millis(3000)];
/// How often each caller must have been answered in the additional time.
const ROUNDS: usize = 4;
/// The calls of a load with those that it makes to warm up.
const WITH_WARM_UP: f64 = 1.0 + 1.0 / WARM_UP as f64;

/// Valgrind, told to count and to keep nothing else.
pub(crate) fn valgrind() -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind
}

/// Whether there is a valgrind.
pub(crate) fn can_count() -> bool {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    valgrind.status().is_ok_and(|status| status.success())
}

/// What a call takes over TCP: on the client, on the server. `None` where a call takes so long under
/// valgrind that too few were made to tell.
pub(crate) fn per_call(
    contender: Contender,
    in_flight: usize,
) -> Result<Option<[f64; 2]>, Box<dyn Error>> {
    for longer in [1, 2, 4] {
        let [short, long] = TIMES.map(|time| run(contender, in_flight, time * longer));
        let (short, long) = (short?, long?);
        if long.calls - short.calls >= (in_flight * ROUNDS) as f64 {
            return Ok(Some(long.per_call_beyond(&short)));
        }
    }
    Ok(None)
}

fn run(contender: Contender, in_flight: usize, time: Duration) -> Result<Counted, Box<dyn Error>> {
    let [of_client, of_server] = [NamedTempFile::new()?, NamedTempFile::new()?];
    let program = Program::this()?.counted_in(of_server.path());
    let server = Server::start(&program, contender)?;
    let program = Program::this()?.counted_in(of_client.path());
    let mut load = Load::start(&program, contender, &server.address, in_flight, time)?;
    let calls = load.go()?.calls as f64 * WITH_WARM_UP;
    load.end()?;
    server.end()?;
    Ok(Counted { calls, client: count(of_client.path())?, server: count(of_server.path())? })
}

fn count(log: &Path) -> Result<f64, Box<dyn Error>> {
    let said = std::fs::read_to_string(log)?;
    collected(&said).ok_or_else(|| format!("valgrind has counted nothing: {said}").into())
}

/// The figure in `==123== Collected : 4567`.
pub(crate) fn collected(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// The count of a program that is [counted when told](Program::counted_when_told).
pub(crate) struct Counter<'a> {
    process: u32,
    prefix: &'a str,
    before: f64,
}

impl<'a> Counter<'a> {
    /// Counts from here on, in all threads.
    pub(crate) fn on(process: u32, prefix: &'a str) -> Result<Counter<'a>, Box<dyn Error>> {
        let mut counter = Counter { process, prefix, before: 0.0 };
        counter.control(&["--instr=on"])?;
        counter.before = counter.count()?;
        Ok(counter)
    }

    /// The instructions since then; counts no longer, so that what comes next is faster.
    pub(crate) fn off(self) -> Result<f64, Box<dyn Error>> {
        let all = self.count()?;
        self.control(&["--instr=off"])?;
        Ok(all - self.before)
    }

    fn count(&self) -> Result<f64, Box<dyn Error>> {
        let said = self.control(&["-e"])?;
        totals(&said).ok_or_else(|| format!("valgrind tells no totals: {said}").into())
    }

    fn control(&self, what: &[&str]) -> Result<String, Box<dyn Error>> {
        let mut control = Command::new("callgrind_control");
        control.arg(format!("--vgdb-prefix={}", self.prefix)).args(what);
        let output = control.arg(self.process.to_string()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && said.starts_with("PID") {
            Ok(said)
        } else {
            let error = String::from_utf8_lossy(&output.stderr);
            Err(format!("valgrind cannot be told {what:?}: {said}{error}").into())
        }
    }
}

/// The figures below `Totals:`, a line for each thread: `Th 1  1,234`; their sum.
fn totals(said: &str) -> Option<f64> {
    let (_, lines) = said.split_once("Totals:")?;
    let threads = lines.lines().filter(|line| line.trim_start().starts_with("Th "));
    let counts = threads
        .map(|line| line.split_ascii_whitespace().last()?.replace(',', "").parse::<f64>().ok());
    counts.reduce(|sum, count| Some(sum? + count?))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_callgrind_is_read() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456\n==7==\n";
        assert_eq!(collected(said), Some(123_456.0));
        assert_eq!(collected("==7== nothing"), None);
    }

    #[test]
    fn the_totals_of_a_running_program_are_read() {
        let said = "PID 7: rpc-bench serve\n\n  Totals:         Ir \n   Th 1  1,234,567 \n   Th 3      1,000 \n\n";
        assert_eq!(totals(said), Some(1_235_567.0));
        assert_eq!(totals("PID 7: rpc-bench\n  Totals:  Ir \n"), None);
        assert_eq!(totals("PID 7: rpc-bench\n  No information available"), None);
    }
}
