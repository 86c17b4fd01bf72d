//! TLS to the cluster: who is trusted, and what is said where nobody is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rpc::store::DocKey;
use rpc::store::cas::CasBackend as _;
use rpc::store::couchbase::{ConnectError, CouchbaseBackend, CouchbaseConfig};
use rpc_tests::node::{Node, NodeConfig};

async fn node_with_tls() -> Node {
    let mut config = NodeConfig::default();
    config.tls = true;
    config.data_servers = 2;
    Node::start(config).await.unwrap()
}

fn config(node: &Node) -> CouchbaseConfig {
    CouchbaseConfig::from_url(&node.tls_url().unwrap()).unwrap()
}

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// What is said when there is no use of a cluster; it must not take the whole default of 30 s.
async fn refusal(config: CouchbaseConfig) -> ConnectError {
    let hasty = config.connect_timeout(Duration::from_millis(500));
    CouchbaseBackend::connect(hasty).await.err().expect("nobody vouches for the node")
}

#[tokio::test]
async fn who_has_the_right_ca_file_works_as_without_tls() {
    let node = node_with_tls().await;
    let directory = tempfile::tempdir().unwrap();
    let ca = file(directory.path(), "ca.pem", node.ca().unwrap());
    let backend = CouchbaseBackend::connect(config(&node).ca_file(ca)).await.unwrap();
    for name in 0..20 {
        let key = DocKey::new("account", &name).unwrap();
        let cas = backend.insert(&key, Bytes::from_static(b"{}"), Bytes::new()).await.unwrap();
        assert_eq!(backend.get(&key).await.unwrap().unwrap().cas, cas);
    }
    assert!(node.requests_to(0, "mutate-in") > 0 && node.requests_to(1, "mutate-in") > 0);
}

#[tokio::test]
async fn the_ca_file_of_somebody_else_is_named() {
    let (node, other) = (node_with_tls().await, node_with_tls().await);
    let directory = tempfile::tempdir().unwrap();
    let wrong = file(directory.path(), "other.pem", other.ca().unwrap());
    let error = refusal(config(&node).ca_file(&wrong)).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains(wrong.to_str().unwrap()) && said.contains("vouches"), "{said}");
    assert_eq!(node.requests("hello"), 0, "nothing is said to whom nobody vouches for");
}

#[tokio::test]
async fn without_a_ca_file_a_private_authority_is_not_trusted() {
    let node = node_with_tls().await;
    let error = refusal(config(&node)).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("COUCHBASE_CA"), "it says what to set: {error}");
    assert_eq!(node.requests("hello"), 0);
}

#[tokio::test]
async fn a_name_that_is_not_in_the_certificate_is_not_trusted() {
    let node = node_with_tls().await;
    let directory = tempfile::tempdir().unwrap();
    let ca = file(directory.path(), "ca.pem", node.ca().unwrap());
    // The same address under another name, which the certificate does not have.
    let url = node.tls_url().unwrap().replace("127.0.0.1", "localhost");
    let error = refusal(CouchbaseConfig::from_url(&url).unwrap().ca_file(ca)).await;
    assert!(error.to_string().contains("host name"), "{error}");
    assert_eq!(node.requests("hello"), 0);
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_refused_at_once() {
    let node = node_with_tls().await;
    let directory = tempfile::tempdir().unwrap();
    for wrong in [directory.path().join("missing.pem"), file(directory.path(), "a.pem", "no PEM")] {
        let error = refusal(config(&node).ca_file(&wrong)).await;
        assert!(error.to_string().contains(wrong.to_str().unwrap()), "{error}");
        assert!(matches!(error, ConnectError::CaFile { .. }), "{error}");
    }
}

#[tokio::test]
async fn tls_is_not_spoken_to_a_port_without_it() {
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let url = node.full_url().replace("couchbase://", "couchbases://");
    let error = refusal(CouchbaseConfig::from_url(&url).unwrap()).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}
