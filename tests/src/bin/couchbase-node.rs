//! A Couchbase node for tests, as a program of its own, so that several processes can share it. It
//! is not Couchbase: see `rpc_tests::node`.
//!
//! ```text
//! couchbase-node [--kv-port N] [--http-port N] [--user U] [--password P] [--bucket B]
//!                [--durability LEVEL] [--replicas N] [--vbuckets N] [--seed N] [--fault TEXT]…
//! ```
//!
//! Prints one line when it is ready, `READY <url> <control url>`, and runs until it is killed.

use std::io::Write as _;
use std::process::ExitCode;
use std::str::FromStr;

use rpc_tests::node::{Fault, Node, NodeConfig};

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("couchbase-node: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let mut config = NodeConfig::default();
    let mut faults: Vec<Fault> = Vec::new();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--kv-port" => config.kv_port = parse(&flag, &value)?,
            "--http-port" => config.http_port = parse(&flag, &value)?,
            "--user" => config.user = value,
            "--password" => config.password = value,
            "--bucket" => config.bucket = value,
            "--durability" => config.durability = value,
            "--replicas" => config.replicas = parse(&flag, &value)?,
            "--vbuckets" => config.vbuckets = parse(&flag, &value)?,
            "--seed" => config.seed = parse(&flag, &value)?,
            "--fault" => faults.push(parse(&flag, &value)?),
            _ => return Err(format!("{flag} is no flag of this program")),
        }
    }
    let node = Node::start(config).await.map_err(|error| format!("no ports: {error}"))?;
    faults.into_iter().for_each(|fault| node.faults().add(fault));
    println!("READY {} {}", node.full_url(), node.control_url());
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    std::future::pending().await
}

fn parse<T: FromStr>(flag: &str, value: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|error| format!("{flag} {value}: {error}"))
}
