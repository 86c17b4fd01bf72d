//! Processes of this program: started, frozen, killed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Failed;
use super::client::ClientArgs;
use super::heard::{Heard, Line};

/// Where a server's store lies.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In this directory: one server at a time.
    Directory(PathBuf),
    /// In a store that several share, by its URL.
    Shared(String),
}

/// How a server is started.
#[derive(Clone, Debug)]
pub(super) struct Start {
    program: PathBuf,
    place: Place,
    /// What the program is started by, such as `strace` with its flags.
    wrapper: Vec<String>,
}

/// A server process, killed when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    pub(super) address: String,
}

/// A client process, killed when this is dropped.
pub(super) struct Client {
    process: Child,
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

/// What all clients say, as it comes.
#[derive(Clone, Default)]
pub(super) struct Record(Arc<Mutex<(Heard, Vec<String>)>>);

/// How long a port may be in use by somebody else before a server gives up.
const PORT_PATIENCE: Duration = Duration::from_secs(20);
const PORT_PAUSE: Duration = Duration::from_millis(100);
const LET_GO_PAUSE: Duration = Duration::from_millis(1);

impl Start {
    /// How this program serves `place`.
    pub(super) fn new(program: &Path, place: Place) -> Start {
        Start { program: program.to_owned(), place, wrapper: Vec::new() }
    }

    /// The same, by way of another program.
    pub(super) fn by(&self, wrapper: Vec<String>) -> Start {
        Start { wrapper, ..self.clone() }
    }

    /// Starts it there, and waits until it listens. `None`: it ended before that.
    pub(super) fn start(&self, listen: &str) -> Result<Option<Server>, Failed> {
        let mut process = self.spawn(listen)?;
        let said = first_line(process.stdout.take());
        Ok(Start::ready(process, &said))
    }

    /// The same for one that stops again and again: it is let go until it listens.
    #[cfg(target_os = "linux")]
    pub(super) fn start_let_go(&self, listen: &str) -> Result<Option<Server>, Failed> {
        let mut process = self.spawn(listen)?;
        let stdout = process.stdout.take();
        let mut starting = Server { process, address: String::new() };
        let said = std::thread::scope(|threads| {
            let reader = threads.spawn(|| first_line(stdout));
            while !reader.is_finished() {
                if starting.is_stopped() {
                    starting.thaw()?;
                }
                std::thread::sleep(LET_GO_PAUSE);
            }
            Ok(reader.join().unwrap_or_default())
        })?;
        starting.address = address_in(&said).unwrap_or_default();
        Ok(Some(starting).filter(|server| !server.address.is_empty()))
    }

    fn spawn(&self, listen: &str) -> Result<Child, Failed> {
        let mut words = self.wrapper.iter();
        let mut command = match words.next() {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(["serve", "--listen", listen]);
        if !self.wrapper.is_empty() {
            command.arg("--one-thread");
        }
        match &self.place {
            Place::Directory(data) => command.arg("--data").arg(data),
            Place::Shared(url) => command.arg("--store").arg(url),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|error| Failed(format!("{command:?} does not start: {error}")))
    }

    fn ready(mut process: Child, said: &str) -> Option<Server> {
        match address_in(said) {
            Some(address) => Some(Server { process, address }),
            None => {
                let _ = process.kill();
                let _ = process.wait();
                None
            }
        }
    }

    /// As [`start`](Start::start), again and again while it does not come up.
    pub(super) fn start_surely(&self, listen: &str) -> Result<Server, Failed> {
        let since = Instant::now();
        loop {
            if let Some(server) = self.start(listen)? {
                return Ok(server);
            }
            if since.elapsed() > PORT_PATIENCE {
                return Err(Failed(format!("a server does not come up at {listen}: {self:?}")));
            }
            std::thread::sleep(PORT_PAUSE);
        }
    }
}

/// What a process says first; nothing, if it ends before.
fn first_line(stdout: Option<ChildStdout>) -> String {
    let mut line = String::new();
    if let Some(stdout) = stdout {
        // What was killed in the middle of a line has not said it.
        let _cut = BufReader::new(stdout).read_line(&mut line);
    }
    line
}

fn address_in(said: &str) -> Option<String> {
    said.strip_prefix("READY ")?.strip_suffix('\n').map(str::to_owned)
}

impl Server {
    /// Kills it as `kill -9` does.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(super) fn freeze(&self) -> Result<(), Failed> {
        self.signal(Signal::STOP)
    }

    pub(super) fn thaw(&self) -> Result<(), Failed> {
        self.signal(Signal::CONT)
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Whether it stands still.
    #[cfg(target_os = "linux")]
    pub(super) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()));
        // The state stands behind the name, which is in parentheses.
        stat.is_ok_and(|stat| {
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            matches!(state, Some('T' | 't'))
        })
    }

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failed("a process without a number".to_owned()))?;
        kill_process(pid, signal)
            .map_err(|error| Failed(format!("{signal:?} to a server: {error}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Client {
    pub(super) fn start(
        program: &Path,
        args: &ClientArgs,
        record: &Record,
    ) -> Result<Client, Failed> {
        let mut process = Command::new(program)
            .args(["client", "--servers", &args.servers.join(","), "--name", &args.name])
            .args(["--seed", &args.seed.to_string(), "--accounts", &args.accounts.to_string()])
            .args(["--in-flight", &args.in_flight.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failed(format!("a client does not start: {error}")))?;
        let stdin = process.stdin.take();
        let (stdout, record) = (process.stdout.take(), record.clone());
        let reader = std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout.expect("it is piped"));
            let mut line = String::new();
            // A last line that was cut off has not been said.
            while stdout.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
                record.take(&line);
                line.clear();
            }
        });
        Ok(Client { process, stdin, reader: Some(reader) })
    }

    /// Kills it as `kill -9` does; all that it has said is in the record then.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Lets it end the calls that it makes, and no more. `false`: it did not end in this time.
    pub(super) fn finish(mut self, limit: Duration) -> bool {
        drop(self.stdin.take());
        let since = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if since.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Record {
    pub(super) fn take(&self, line: &str) {
        let mut inner = self.lock();
        if let Err(wrong) = inner.0.take(line) {
            inner.1.push(wrong);
        }
    }

    pub(super) fn say(&self, line: &Line) {
        self.take(&serde_json::to_string(line).expect("a line is JSON"));
    }

    /// All that was said so far, and what of it made no sense.
    pub(super) fn so_far(&self) -> (Heard, Vec<String>) {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, (Heard, Vec<String>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
