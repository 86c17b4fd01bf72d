//! What it costs to build a minimal service from nothing, beside tarpc's.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::table::{load_average, median};
use crate::usage::cpu_of_children;

/// What `build-cost` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Builds of each, by turns; the median is shown.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    rounds: u32,
    /// Builds as a release does.
    #[arg(long)]
    release: bool,
}

/// What a build from nothing took.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    /// Of all its processes; busy neighbours make it longer too, but less.
    cpu: f64,
}

/// A service that is built.
struct Minimal {
    name: &'static str,
    manifest: String,
    source: &'static str,
}

const OURS: &str = r#"
#[rpc::service]
pub trait Hello {
    async fn hello(&self, name: String) -> String;
}

struct Server;

impl Hello for Server {
    async fn hello(&self, name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = std::sync::Arc::new(rpc::store::MemoryStore::new());
    let server = rpc::Server::builder(HelloServer::new(Server), store);
    let server = server.bind("127.0.0.1:0").await.expect("a port is free");
    let address = server.address();
    tokio::spawn(server.serve());
    let client: HelloClient = rpc::Client::builder().connect([address]).await.expect("it serves");
    println!("{}", client.hello("Ada".to_owned()).await.expect("it answers"));
}
"#;

const TARPC: &str = r#"
use futures_util::StreamExt as _;
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;

#[tarpc::service]
pub trait Hello {
    async fn hello(name: String) -> String;
}

#[derive(Clone)]
struct Server;

impl Hello for Server {
    async fn hello(self, _: tarpc::context::Context, name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listening = tarpc::serde_transport::tcp::listen("127.0.0.1:0", Bincode::default);
    let mut listener = listening.await.expect("a port is free");
    let address = listener.local_addr();
    tokio::spawn(async move {
        let transport = listener.next().await.expect("a client").expect("a connection");
        BaseChannel::with_defaults(transport).execute(Server.serve()).for_each(|response| async {
            tokio::spawn(response);
        }).await;
    });
    let connecting = tarpc::serde_transport::tcp::connect(address, Bincode::default);
    let client = HelloClient::new(Default::default(), connecting.await.expect("it serves")).spawn();
    let answer = client.hello(tarpc::context::current(), "Ada".to_owned()).await;
    println!("{}", answer.expect("it answers"));
}
"#;

/// Builds and prints a table as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let services = services(&root);
    let place = tempfile::tempdir()?;
    let mut directories = Vec::new();
    let mut crates = Vec::new();
    for service in &services {
        let directory = write(&root, place.path(), service)?;
        crates.push(count_crates(&directory)?);
        directories.push(directory);
    }
    let load = load_average();
    let mut costs = vec![Vec::new(); services.len()];
    for _ in 0..arguments.rounds {
        for (directory, costs) in directories.iter().zip(&mut costs) {
            costs.push(build(directory, arguments.release)?);
        }
    }
    println!(
        "Built from nothing, {} time(s) by turns; load of the last minute before: {load}.\n",
        arguments.rounds
    );
    print(&services, &crates, &costs);
    Ok(())
}

fn print(services: &[Minimal], crates: &[usize], costs: &[Vec<Cost>]) {
    println!("| minimal service | crates | seconds of CPU time | seconds |");
    println!("| --- | ---: | ---: | ---: |");
    for ((service, crates), costs) in services.iter().zip(crates).zip(costs) {
        let middle = |figure: fn(&Cost) -> f64| median(costs.iter().map(figure));
        let (cpu, seconds) = (middle(|cost| cost.cpu), middle(|cost| cost.seconds));
        println!("| {} | {crates} | {cpu:.1} | {seconds:.1} |", service.name);
    }
    let tarpc = services.len() - 1;
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    for (at, Minimal { name, .. }) in services.iter().enumerate().take(tarpc) {
        let ratio = |figure: fn(&Cost) -> f64| {
            let rounds = costs[at].iter().zip(&costs[tarpc]);
            median(rounds.map(|(ours, theirs)| figure(ours) / figure(theirs)))
        };
        let (cpu, time) = (ratio(|cost| cost.cpu), ratio(|cost| cost.seconds));
        println!("| {name}: CPU time, × tarpc's | ≤ 1.5 | {cpu:.2} | {} |", verdict(cpu <= 1.5));
        println!("| {name}: time, × tarpc's | ≤ 1.5 | {time:.2} | {} |", verdict(time <= 1.5));
        let (ours, theirs) = (crates[at], crates[tarpc]);
        println!("| {name}: crates | ≤ {theirs} | {ours} | {} |", verdict(ours <= theirs));
    }
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "**does not hold**" }
}

fn services(root: &Path) -> Vec<Minimal> {
    let rpc = |features: &str| {
        format!(
            "rpc = {{ package = \"rpc-runtime\", path = {:?}{features} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n",
            root.join("rpc-runtime")
        )
    };
    let tarpc = "tarpc = { version = \"0.38\", default-features = false, features = [\"serde-transport-bincode\", \"serde1\", \"tcp\", \"tokio1\"] }\nfutures-util = { version = \"0.3\", default-features = false, features = [\"std\"] }\nserde = { version = \"1\", features = [\"derive\"] }\n";
    vec![
        Minimal { name: "ours, with the embedded store", manifest: rpc(""), source: OURS },
        Minimal {
            name: "ours, without it",
            manifest: rpc(", default-features = false"),
            source: OURS,
        },
        Minimal { name: "tarpc over TCP", manifest: tarpc.to_owned(), source: TARPC },
    ]
}

/// Writes a package, with the versions that this workspace has.
fn write(root: &Path, place: &Path, service: &Minimal) -> Result<PathBuf, Box<dyn Error>> {
    let directory = place.join(service.name.replace([' ', ','], "-"));
    std::fs::create_dir_all(directory.join("src"))?;
    let manifest = format!(
        "[package]\nname = \"minimal\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\ntokio = {{ version = \"1\", default-features = false, features = [\"rt\", \"macros\", \"net\"] }}\n{}",
        service.manifest
    );
    std::fs::write(directory.join("Cargo.toml"), manifest)?;
    std::fs::write(directory.join("src/main.rs"), service.source)?;
    std::fs::copy(root.join("Cargo.lock"), directory.join("Cargo.lock"))?;
    Ok(directory)
}

fn build(directory: &Path, release: bool) -> Result<Cost, Box<dyn Error>> {
    let target = tempfile::tempdir_in(directory)?;
    let mut build = cargo(directory, "build");
    build.arg("--offline").env("CARGO_TARGET_DIR", target.path());
    if release {
        build.arg("--release");
    }
    let (begun, before) = (Instant::now(), cpu_of_children());
    succeed(&mut build)?;
    let cpu = cpu_of_children() - before;
    Ok(Cost { seconds: begun.elapsed().as_secs_f64(), cpu })
}

/// The crates that end up in the program or make its code, itself not counted.
fn count_crates(directory: &Path) -> Result<usize, Box<dyn Error>> {
    let mut tree = cargo(directory, "tree");
    let output =
        tree.args(["--prefix", "none", "-e", "normal,build", "--format", "{p}"]).output()?;
    if !output.status.success() {
        return Err(format!("{tree:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().filter_map(|line| line.strip_suffix(" (*)").or(Some(line)));
    let names: BTreeSet<&str> = names.filter(|line| !line.is_empty()).collect();
    Ok(names.len() - 1)
}

fn cargo(directory: &Path, command: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(directory).arg(command);
    cargo
}

fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = command.stdout(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
