//! A Couchbase node for tests, as a program of its own, so that several processes can share it. It
//! is not Couchbase: see `rpc_tests::node`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rpc_tests::node::{Fault, Node, NodeConfig};

/// A Couchbase node for tests: enough of the protocol that the official driver works on it. It is
/// not Couchbase: one process, documents in memory, no replicas.
///
/// Prints one line when it is ready, `READY <url> <control url>`, and runs until it is killed.
#[derive(Debug, Parser)]
#[command(name = "couchbase-node", version, after_long_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// The port of the data service; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = 0)]
    kv_port: u16,
    /// The port of management and control; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = 0)]
    http_port: u16,
    /// The only user
    #[arg(long, default_value = "tester")]
    user: String,
    /// The password
    #[arg(long, default_value = "secret")]
    password: String,
    /// The only bucket
    #[arg(long, default_value = "test")]
    bucket: String,
    /// What the bucket says its minimum durability is
    #[arg(long, value_name = "LEVEL", default_value = "majority")]
    durability: String,
    /// How many replicas the bucket says it has
    #[arg(long, value_name = "N", default_value_t = 1)]
    replicas: u32,
    /// How many vBuckets the map has
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..))]
    vbuckets: u16,
    /// How many data servers share them; `POST /node/map` moves vBuckets between these
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    data_servers: u16,
    /// Speak TLS too, and write to this file who vouches for the certificate; READY has that URL
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Decides what happens by chance
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What goes wrong from the beginning; may be given several times
    #[arg(long, value_name = "TEXT")]
    fault: Vec<Fault>,
}

const EXAMPLES: &str = "\
Examples:
  couchbase-node --bucket bank
  couchbase-node --fault 'ambiguous-applied on=writes chance=0.01' --fault 'slow=200ms chance=0.1'
  couchbase-node --tls-ca /tmp/ca.pem

While it runs:
  curl -d 'not-my-vbucket times=3' <control url>/node/faults
  curl -X DELETE <control url>/node/faults
  curl <control url>/node

Faults: temporary-failure, locked, internal-error, durability-impossible, in-progress,
recommit-in-progress, ambiguous-applied, ambiguous-lost, time-out-after, time-out-before, cut-after,
cut-before, not-my-vbucket, slow=200ms; each limited by on=reads, on=writes, key=PART, times=N,
chance=SHARE.";

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), String> {
    let mut config = NodeConfig::default();
    config.kv_port = cli.kv_port;
    config.http_port = cli.http_port;
    config.user = cli.user;
    config.password = cli.password;
    config.bucket = cli.bucket;
    config.durability = cli.durability;
    config.replicas = cli.replicas;
    config.vbuckets = cli.vbuckets;
    config.data_servers = cli.data_servers;
    config.tls = cli.tls_ca.is_some();
    config.seed = cli.seed;
    let node = Node::start(config).await.map_err(|error| format!("no ports: {error}"))?;
    cli.fault.into_iter().for_each(|fault| node.faults().add(fault));
    let url = match &cli.tls_ca {
        Some(file) => with_tls(&node, file)?,
        None => node.full_url(),
    };
    println!("READY {url} {}", node.control_url());
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    std::future::pending().await
}

/// The URL by which the node is found over TLS, and trusted.
fn with_tls(node: &Node, file: &Path) -> Result<String, String> {
    let (Some(ca), Some(url)) = (node.ca(), node.tls_url()) else {
        return Err("the node has no certificate".to_owned());
    };
    std::fs::write(file, ca).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(format!("{url}?ca={}", file.display()))
}
