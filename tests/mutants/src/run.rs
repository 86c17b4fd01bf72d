//! Runs tests, for a bounded time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::build::Binary;

const LOOK: Duration = Duration::from_millis(5);
const LONGEST_IDLE: Duration = Duration::from_secs(2);
/// How much slower than alone a process may be.
const SLOWER: u32 = 10;
/// A mutant may ask for all the memory that there is.
const MEMORY_KB: &str = "6000000";

/// While this file exists nothing is begun.
pub(crate) static PAUSE: OnceLock<PathBuf> = OnceLock::new();

/// How tests ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    /// The first of those that failed; empty if the process broke.
    Failed(String),
    TimedOut,
}

/// Runs these tests of `binary`, with their output to `log`.
pub(crate) fn tests(
    binary: &Binary,
    names: &[&str],
    variable: (&str, &str),
    limit: Duration,
    log: &Path,
) -> Result<(End, Duration), String> {
    while PAUSE.get().is_some_and(|path| path.exists()) {
        sleep(Duration::from_secs(1));
    }
    let output = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v $0; ulimit -c 0; exec \"$@\"", MEMORY_KB])
        .arg(&binary.path)
        .args(["--exact", "--test-threads=1"])
        .args(names)
        .current_dir(&binary.directory)
        .env(variable.0, variable.1)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.name))?;
    let start = Instant::now();
    let mut patience =
        Patience { limit, taken: Duration::ZERO, idle: Duration::ZERO, looked: start };
    let mut worked = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            let end = if status.success() { End::Passed } else { End::Failed(failed(log)) };
            return Ok((end, start.elapsed()));
        }
        let works = worked;
        worked = work_of(child.id()).unwrap_or_else(|| start.elapsed());
        if patience.is_over(worked, worked > works) {
            child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
            return Ok((End::TimedOut, start.elapsed()));
        }
        sleep(LOOK);
    }
}

/// On a machine that is busy with other things, a slow process is not one that hangs. So what counts
/// is how much it works, or that it does nothing at all.
struct Patience {
    limit: Duration,
    taken: Duration,
    idle: Duration,
    looked: Instant,
}

impl Patience {
    fn is_over(&mut self, worked: Duration, works: bool) -> bool {
        // What passes while this process stands still, too, is not counted.
        let passed = self.looked.elapsed().min(LOOK * 10);
        self.looked = Instant::now();
        self.taken += passed;
        self.idle = if works { Duration::ZERO } else { self.idle + passed };
        worked > self.limit
            || self.idle > LONGEST_IDLE + self.limit
            || self.taken > self.limit * SLOWER
    }
}

/// The processor time of a process, where the system tells.
fn work_of(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * 10))
}

fn failed(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("test "));
    let name = lines.find_map(|line| line.strip_suffix(" ... FAILED"));
    name.unwrap_or_default().to_owned()
}
