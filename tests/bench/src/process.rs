//! Servers and clients as processes of their own: this program, started again.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::instructions;
use crate::load::{Figures, WARM};
use crate::usage::Usage;
use crate::work::Contender;

/// The cores that the two sides are pinned to.
pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const CLIENT_CORE: usize = 1;

/// A load warms up for one part in so many of its time.
pub(crate) const WARM_UP: u32 = 4;

/// Which program is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// How valgrind is told to count, if it is to run it.
    counted: Option<Vec<String>>,
}

impl Program {
    /// This one.
    pub(crate) fn this() -> Result<Program, Box<dyn Error>> {
        Ok(Program { path: std::env::current_exe()?, counted: None })
    }

    /// The one that counts allocations, built if it is not there.
    pub(crate) fn counting() -> Result<Program, Box<dyn Error>> {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "-p", "rpc-bench", "--bin", "rpc-bench-counting"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        // As this one was, so that it has the same contenders.
        for (feature, is_on) in [("peers", cfg!(feature = "peers")), ("tls", cfg!(feature = "tls"))]
        {
            if is_on {
                build.args(["--features", feature]);
            }
        }
        let built = build.status().is_ok_and(|status| status.success());
        let path = std::env::current_exe()?.with_file_name("rpc-bench-counting");
        if built && path.is_file() {
            Ok(Program { path, counted: None })
        } else {
            Err(format!("could not make the program that counts allocations: {build:?}").into())
        }
    }

    /// The same, run by valgrind, which writes there how many instructions that took.
    pub(crate) fn counted_in(mut self, log: &Path) -> Program {
        self.counted = Some(vec![format!("--log-file={}", log.display())]);
        self
    }

    /// The same, run by valgrind, which counts when it is told to, by way of files that begin so.
    pub(crate) fn counted_when_told(mut self, prefix: &str) -> Program {
        let quiet = ["-q".to_owned(), "--instr-atstart=no".to_owned()];
        self.counted = Some([&quiet[..], &[format!("--vgdb-prefix={prefix}")]].concat());
        self
    }

    pub(crate) fn command(&self) -> Command {
        let Some(options) = &self.counted else { return Command::new(&self.path) };
        let mut command = instructions::valgrind();
        command.args(options).arg(&self.path);
        command
    }
}

/// A process with a conversation by lines; ended with this.
pub(crate) struct Talking {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Talking {
    pub(crate) fn start(command: &mut Command) -> Result<Talking, Box<dyn Error>> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = Some(child.stdin.take().ok_or("the process has no input")?);
        let output = child.stdout.take().ok_or("the process has no output")?;
        Ok(Talking { child, input, output: BufReader::new(output) })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn hear(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            return Err(format!("a process ended too early, with {}", self.child.wait()?).into());
        }
        Ok(line.trim().to_owned())
    }

    /// Waits until it has ended by itself, which it does when nobody talks to it any more.
    fn end(mut self) -> Result<(), Box<dyn Error>> {
        drop(self.input.take());
        self.child.wait()?;
        Ok(())
    }

    /// `kill -9`.
    #[cfg(feature = "failover")]
    pub(crate) fn kill(&mut self) -> Result<(), Box<dyn Error>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        writeln!(self.input.as_mut().ok_or("the process is about to end")?, "{line}")?;
        Ok(())
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A server process that answers with what it has used.
pub(crate) struct Server {
    process: Talking,
    pub(crate) address: String,
    /// Where it puts its files; a killed process does not tidy up.
    _files: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(program: &Program, contender: Contender) -> Result<Server, Box<dyn Error>> {
        let mut command = program.command();
        command.args(["serve", "--contender", &contender.name()]);
        Server::start_with(command.args(["--core", &SERVER_CORE.to_string()]))
    }

    /// Starts what prints its address first.
    pub(crate) fn start_with(command: &mut Command) -> Result<Server, Box<dyn Error>> {
        let files = tempfile::tempdir()?;
        let mut process = Talking::start(command.env("TMPDIR", files.path()))?;
        let address = process.hear()?;
        Ok(Server { process, address, _files: files })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn end(self) -> Result<(), Box<dyn Error>> {
        self.process.end()
    }

    /// `kill -9`.
    #[cfg(feature = "failover")]
    pub(crate) fn kill(&mut self) -> Result<(), Box<dyn Error>> {
        self.process.kill()
    }

    pub(crate) fn usage(&mut self) -> Result<Usage, Box<dyn Error>> {
        self.process.say("usage")?;
        Ok(serde_json::from_str(&self.process.hear()?)?)
    }
}

/// A client process that has warmed up and waits.
pub(crate) struct Load {
    process: Talking,
    time: Duration,
}

impl Load {
    /// One whose timed calls take so long, unless it is told otherwise.
    pub(crate) fn start(
        program: &Program,
        contender: Contender,
        address: &str,
        in_flight: usize,
        time: Duration,
    ) -> Result<Load, Box<dyn Error>> {
        let mut command = program.command();
        command.args(["load", "--contender", &contender.name(), "--address", address]);
        command.args(["--core", &CLIENT_CORE.to_string()]);
        command.args(["--in-flight", &in_flight.to_string()]);
        Load::start_with(&mut command, time)
    }

    /// Starts what says when it is warm, and is told for how long.
    pub(crate) fn start_with(
        command: &mut Command,
        time: Duration,
    ) -> Result<Load, Box<dyn Error>> {
        let warm_up = time / WARM_UP;
        command.args(["--warm-up-millis", &warm_up.as_millis().to_string()]);
        let mut process = Talking::start(command)?;
        match process.hear()? {
            said if said == WARM => Ok(Load { process, time }),
            said => Err(format!("instead of {WARM:?} the client {command:?} said {said:?}").into()),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How long it is to make timed calls.
    pub(crate) fn time(&self) -> Duration {
        self.time
    }

    pub(crate) fn end(self) -> Result<(), Box<dyn Error>> {
        self.process.end()
    }

    /// Lets it make its timed calls.
    pub(crate) fn go(&mut self) -> Result<Figures, Box<dyn Error>> {
        self.go_for(self.time)
    }

    /// The same, for so long.
    pub(crate) fn go_for(&mut self, time: Duration) -> Result<Figures, Box<dyn Error>> {
        self.process.say(&time.as_millis().to_string())?;
        Ok(serde_json::from_str(&self.process.hear()?)?)
    }
}
