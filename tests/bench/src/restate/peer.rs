//! Restate's server and the handler it asks, as processes.

use std::error::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http::Connection;
use super::{Measured, Work, drive};

/// How long its server may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(10);
/// Where npm puts packages.
const PACKAGES: &str = "node_modules";

/// A running server of Restate with its handler; ended with this.
pub(super) struct Restate {
    program: PathBuf,
    serves: Ended,
    _handles: Ended,
    data: tempfile::TempDir,
    addresses: Addresses,
    /// What makes idempotency keys differ.
    loads: u64,
}

struct Addresses {
    ingress: String,
    admin: String,
    node: String,
    handler: String,
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Restate {
    /// Starts both, out of this directory, and waits until every work is served.
    pub(super) async fn start(peer: &Path) -> Result<Restate, Box<dyn Error>> {
        let peer = peer.canonicalize().map_err(|error| format!("{}: {error}", peer.display()))?;
        let data = tempfile::tempdir()?;
        let addresses = Addresses::free()?;
        let program = server_program(&peer)?;
        let handles = start_handler(&peer, &addresses)?;
        let serves = start_server(&program, data.path(), &addresses)?;
        let restate = Restate { program, serves, _handles: handles, data, addresses, loads: 0 };
        restate.wait(deploy(&restate.addresses)).await?;
        for work in Work::ALL {
            restate.wait(answers(&restate.addresses.ingress, work)).await?;
        }
        Ok(restate)
    }

    /// Loads it with this work.
    pub(super) async fn load(
        &mut self,
        work: Work,
        in_flight: usize,
        time: Duration,
    ) -> Result<Measured, Box<dyn Error>> {
        self.loads += 1;
        let load = self.loads;
        let mut callers = Vec::new();
        for caller in 0..in_flight as u64 {
            let mut connection = Connection::open(&self.addresses.ingress).await?;
            let path = work.path(caller);
            let mut call = 0u64;
            callers.push(async move || {
                call += 1;
                let key = format!("idempotency-key: {load}-{caller}-{call}\r\n");
                match connection.ask("POST", &path, &key, "100").await {
                    Ok(200) => Ok(()),
                    Ok(status) => Err(format!("Restate answers with status {status}")),
                    Err(error) => Err(format!("Restate: {error}")),
                }
            });
        }
        drive(callers, time).await
    }

    /// `kill -9`, and started again at once: how long until it has served a call.
    pub(super) async fn die(&mut self) -> Result<Duration, Box<dyn Error>> {
        let killed = Instant::now();
        self.serves.0.kill()?;
        self.serves.0.wait()?;
        self.serves = start_server(&self.program, self.data.path(), &self.addresses)?;
        self.wait(answers(&self.addresses.ingress, Work::Step)).await?;
        Ok(killed.elapsed())
    }

    async fn wait(&self, until: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
        let waited = tokio::time::timeout(PATIENCE, until).await;
        Ok(waited.map_err(|_| "Restate does not serve: see what it has printed")?)
    }
}

impl Addresses {
    /// Of this machine; nobody listens on them.
    fn free() -> Result<Addresses, Box<dyn Error>> {
        let listeners: Vec<TcpListener> =
            (0..4).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let mut free = listeners.iter().map(TcpListener::local_addr);
        let mut next = || -> Result<String, Box<dyn Error>> {
            Ok(free.next().ok_or("an address is missing")??.to_string())
        };
        Ok(Addresses { ingress: next()?, admin: next()?, node: next()?, handler: next()? })
    }
}

/// In the node that npm has installed there, if it has: the SDK asks for a recent one.
fn start_handler(peer: &Path, addresses: &Addresses) -> Result<Ended, Box<dyn Error>> {
    let installed = peer.join(PACKAGES).join(".bin/node");
    let node = if installed.is_file() { installed } else { PathBuf::from("node") };
    let port = addresses.handler.rsplit(':').next().unwrap_or_default();
    let mut command = Command::new(node);
    command
        .args(["-e", include_str!("handler.js")])
        .env("NODE_PATH", peer.join(PACKAGES))
        .env("HANDLER_PORT", port)
        .env("RESTATE_LOGGING", "ERROR");
    spawn(&mut command)
}

/// As it is by default, on these addresses.
fn start_server(
    program: &Path,
    data: &Path,
    addresses: &Addresses,
) -> Result<Ended, Box<dyn Error>> {
    let mut command = Command::new(program);
    command
        .arg("--no-logo")
        .current_dir(data)
        .env("RESTATE_LISTEN_MODE", "tcp")
        .env("RESTATE_BASE_DIR", data)
        .env("RESTATE_BIND_ADDRESS", &addresses.node)
        .env("RESTATE_ADVERTISED_ADDRESS", format!("http://{}", addresses.node))
        .env("RESTATE_INGRESS__BIND_ADDRESS", &addresses.ingress)
        .env("RESTATE_ADMIN__BIND_ADDRESS", &addresses.admin)
        .env("RESTATE_DISABLE_TELEMETRY", "true")
        // Without its search for a newer version.
        .env("RESTATE_LOG_FILTER", "error,octocrab=off");
    spawn(&mut command)
}

fn spawn(command: &mut Command) -> Result<Ended, Box<dyn Error>> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let program = || command.get_program().display().to_string();
    Ok(Ended(child.map_err(|error| format!("{}: {error}", program()))?))
}

/// Tells the server where the handler is, as soon as both listen.
async fn deploy(addresses: &Addresses) {
    let body = format!("{{\"uri\":\"http://{}\"}}", addresses.handler);
    let ask = async || {
        let mut connection = Connection::open(&addresses.admin).await?;
        connection.ask("POST", "/deployments", "", &body).await
    };
    while !matches!(ask().await, Ok(200 | 201)) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns as soon as a call is answered.
async fn answers(ingress: &str, work: Work) {
    let ask = async || Connection::open(ingress).await?.ask("POST", &work.path(0), "", "100").await;
    while !matches!(ask().await, Ok(200)) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// The server's package has the name of the platform at its end.
fn server_program(peer: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let packages = peer.join(PACKAGES).join("@restatedev");
    let found = std::fs::read_dir(&packages)
        .map_err(|error| {
            format!("{}: {error}: is that where npm has installed it?", packages.display())
        })?
        .filter_map(Result::ok)
        .map(|package| package.path().join("bin/restate-server"))
        .find(|program| program.is_file());
    Ok(found.ok_or("there is no server of Restate for this platform")?)
}
