//! The node as a program, and its control.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use rpc::store::DocKey;
use rpc::store::cas::{CasBackend, CasError};
use rpc::store::couchbase::{CouchbaseBackend, CouchbaseConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Program {
    process: Child,
    url: String,
    control: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        let mut process = Command::new(env!("CARGO_BIN_EXE_couchbase-node"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("READY"), "{line}");
        let url = words.next().unwrap().to_owned();
        let control = words.next().unwrap().trim_start_matches("http://").to_owned();
        Program { process, url, control }
    }

    async fn control(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.control).await.unwrap();
        let len = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nContent-Length: {len}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let status = response.split(' ').nth(1).unwrap().parse().unwrap();
        let body = response.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn the_program_is_controlled_while_it_runs() {
    let program = Program::start(&["--bucket", "bank", "--vbuckets", "64", "--seed", "3"]);
    let config = CouchbaseConfig::from_url(&program.url).unwrap();
    assert_eq!(config.bucket, "bank");
    let backend = CouchbaseBackend::connect(config).await.unwrap();
    let key = |name| DocKey::new("account", &name).unwrap();
    let insert = |name| {
        let key = key(name);
        let backend = backend.clone();
        async move { backend.insert(&key, Bytes::from_static(b"{}"), Bytes::new()).await }
    };

    let fault = "ambiguous-lost on=writes key=account:bob";
    let (status, _) = program.control("POST", "/node/faults", fault).await;
    assert_eq!(status, 200);
    insert("alice").await.unwrap();
    assert!(matches!(insert("bob").await, Err(CasError::Ambiguous(_))));
    let (_, counts) = program.control("GET", "/node", "").await;
    assert_eq!(
        (&counts["documents"], &counts["faults"], &counts["requests"]["mutate-in"]),
        (&Value::from(1), &Value::from(1), &Value::from(2))
    );
    program.control("DELETE", "/node/faults", "").await;
    insert("bob").await.unwrap();

    let (status, said) = program.control("POST", "/node/faults", "sometimes").await;
    assert_eq!(status, 400, "{said}");
}

#[tokio::test]
async fn the_program_moves_vbuckets() {
    let program = Program::start(&["--data-servers", "2"]);
    let config = CouchbaseConfig::from_url(&program.url).unwrap();
    let backend = CouchbaseBackend::connect(config).await.unwrap();
    let (status, _) = program.control("POST", "/node/map", "0 1").await;
    assert_eq!(status, 200);
    let key = DocKey::new("account", &"alice").unwrap();
    backend.insert(&key, Bytes::from_static(b"{}"), Bytes::new()).await.unwrap();
    for wrong in ["0 2", "0", "all"] {
        let (status, said) = program.control("POST", "/node/map", wrong).await;
        assert_eq!(status, 400, "{said}");
    }
}

#[tokio::test]
async fn the_program_speaks_tls() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let program = Program::start(&["--tls-ca", ca.to_str().unwrap()]);
    assert!(program.url.starts_with("couchbases://"), "{}", program.url);
    CouchbaseBackend::connect(CouchbaseConfig::from_url(&program.url).unwrap()).await.unwrap();
}

/// This very suite, as one runs it on a real cluster: found by the environment, in scopes of its own
/// that are gone afterwards.
#[tokio::test]
async fn the_suite_runs_where_the_environment_says() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let program = Program::start(&["--bucket", "bank", "--tls-ca", ca.to_str().unwrap()]);
    let config = CouchbaseConfig::from_url(&program.url).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["conformance::records::", "--nocapture"])
        .env("COUCHBASE_URL", &config.url)
        .env("COUCHBASE_USER", &config.user)
        .env("COUCHBASE_PASSWORD", &config.password)
        .env("COUCHBASE_BUCKET", &config.bucket)
        .env("COUCHBASE_CA", &ca)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !said.contains("skipped"), "{said}");
    let (_, counts) = program.control("GET", "/node", "").await;
    assert!(counts["requests"]["mutate-in"].as_u64() > Some(10), "it ran elsewhere: {counts}");
    assert_eq!(counts["documents"], 0, "it has cleaned up");
    assert!(!said.contains("stays"), "{said}");
}

#[test]
fn a_flag_that_it_does_not_know_is_named() {
    for (arguments, says) in [
        (&["--nonsense", "1"][..], "unexpected argument '--nonsense'"),
        (&["--kv-port", "many"], "invalid value 'many' for '--kv-port"),
        (&["--fault", "sometimes"], "is no fault"),
        (&["--seed"], "a value is required for '--seed"),
        (&["--tls-ca", "/no/such/directory/ca.pem"], "/no/such/directory/ca.pem"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_couchbase-node"));
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{said}");
    }
}
