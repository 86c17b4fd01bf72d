//! The adapter: what it refuses to start on, what it makes of documents, and what it says when
//! things go wrong at the level of the protocol.

use std::time::Duration;

use bytes::Bytes;
use couchbase::authenticator::PasswordAuthenticator;
use couchbase::cluster::Cluster;
use couchbase::options::cluster_options::ClusterOptions;
use rpc::store::DocKey;
use rpc::store::cas::{Cas, CasBackend, CasError};
use rpc::store::couchbase::{
    ConnectError, CouchbaseBackend, CouchbaseConfig, MAX_DOCUMENT_BYTES, MAX_XATTR_BYTES,
};
use rpc_tests::node::{Effect, Fault, Node, NodeConfig, On};
use serde_json::{Value, json};

fn config(node: &Node) -> CouchbaseConfig {
    CouchbaseConfig::from_url(&node.full_url()).unwrap()
}

async fn start() -> (Node, CouchbaseBackend) {
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let backend = CouchbaseBackend::connect(config(&node)).await.unwrap();
    (node, backend)
}

async fn refusal(change: impl Fn(&mut NodeConfig)) -> ConnectError {
    let mut settings = NodeConfig::default();
    change(&mut settings);
    let node = Node::start(settings).await.unwrap();
    match CouchbaseBackend::connect(config(&node)).await {
        Err(error) => error,
        Ok(_) => panic!("a bucket that loses writes was taken"),
    }
}

fn key() -> DocKey {
    DocKey::new("account", &"alice").unwrap()
}

fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

fn body(balance: u64) -> Bytes {
    bytes(&json!({ "balance": balance }))
}

fn meta(mark: u64) -> Bytes {
    bytes(&json!({ "m": mark }))
}

#[tokio::test]
async fn a_bucket_without_durability_is_refused() {
    let error = refusal(|node| node.durability = "none".to_owned()).await;
    assert!(matches!(error, ConnectError::Unsafe { .. }), "{error}");
    assert!(error.to_string().contains("durabilityMinLevel"), "it says what to set: {error}");
}

#[tokio::test]
async fn for_development_it_may_be_without() {
    let mut settings = NodeConfig::default();
    settings.durability = "none".to_owned();
    let node = Node::start(settings).await.unwrap();
    let url = format!("{}?durability=none", node.full_url());
    let backend =
        CouchbaseBackend::connect(CouchbaseConfig::from_url(&url).unwrap()).await.unwrap();
    backend.insert(&key(), body(1), meta(1)).await.unwrap();
}

#[tokio::test]
async fn every_durable_level_will_do() {
    for level in ["majority", "majorityAndPersistActive", "persistToMajority"] {
        let mut settings = NodeConfig::default();
        settings.durability = level.to_owned();
        let node = Node::start(settings).await.unwrap();
        CouchbaseBackend::connect(config(&node)).await.unwrap();
    }
}

#[tokio::test]
async fn buckets_that_forget_are_refused() {
    for (error, says) in [
        (refusal(|node| node.replicas = 3).await, "replicaNumber"),
        (refusal(|node| node.eviction = "nruEviction".to_owned()).await, "noEviction"),
        (refusal(|node| node.max_ttl = 60).await, "maxTTL"),
    ] {
        assert!(matches!(error, ConnectError::Unsafe { .. }), "{error}");
        assert!(error.to_string().contains(says), "it says what to set: {error}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let error = CouchbaseBackend::connect(config(&node).collection("orders")).await.err().unwrap();
    assert!(error.to_string().contains("`_default.orders`"), "{error}");
    let error = CouchbaseBackend::connect(config(&node).bucket("other")).await.err().unwrap();
    assert!(error.to_string().contains("bucket `other`"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_ends_with_the_time_to_connect() {
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let wrong = config(&node).credentials("tester", "hidden");
    let error = CouchbaseBackend::connect(wrong.connect_timeout(Duration::from_millis(300)))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("user `tester`"), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn a_document_lives() {
    let (node, backend) = start().await;
    assert_eq!(backend.get(&key()).await.unwrap(), None);

    let first = backend.insert(&key(), body(1), meta(1)).await.unwrap();
    let found = backend.get(&key()).await.unwrap().unwrap();
    assert_eq!((found.cas, found.body, found.meta), (first, body(1), meta(1)));
    assert!(matches!(backend.insert(&key(), body(2), meta(2)).await, Err(CasError::Mismatch)));

    let second = backend.replace(&key(), first, Some(body(2)), meta(2)).await.unwrap();
    let stale = backend.replace(&key(), first, Some(body(3)), meta(3)).await;
    assert!(matches!(stale, Err(CasError::Mismatch)));
    let third = backend.replace(&key(), second, None, meta(3)).await.unwrap();
    let found = backend.get(&key()).await.unwrap().unwrap();
    assert_eq!((found.cas, found.body, found.meta), (third, body(2), meta(3)));

    let fourth = backend.replace(&key(), third, None, Bytes::new()).await.unwrap();
    let found = backend.get(&key()).await.unwrap().unwrap();
    assert_eq!((found.cas, found.meta), (fourth, Bytes::new()), "no metadata any more");

    assert!(matches!(backend.remove(&key(), third).await, Err(CasError::Mismatch)));
    backend.remove(&key(), fourth).await.unwrap();
    assert_eq!(backend.get(&key()).await.unwrap(), None);
    let gone = backend.replace(&key(), fourth, Some(body(5)), meta(5)).await;
    assert!(matches!(gone, Err(CasError::Mismatch)));
    assert!(matches!(backend.remove(&key(), fourth).await, Err(CasError::Mismatch)));
    assert_eq!(node.requests("lookup-in"), 6, "one request per read, and one at connect");
    assert_eq!(node.requests("mutate-in"), 7, "one request per write");
}

#[tokio::test]
async fn a_document_without_metadata_is_read() {
    let (_node, backend) = start().await;
    backend.insert(&key(), body(1), Bytes::new()).await.unwrap();
    let found = backend.get(&key()).await.unwrap().unwrap();
    assert_eq!((found.body, found.meta), (body(1), Bytes::new()));
    backend.replace(&key(), found.cas, Some(body(2)), meta(2)).await.unwrap();
}

#[tokio::test]
async fn other_programs_see_plain_json() {
    let (node, backend) = start().await;
    backend.insert(&key(), body(7), meta(1)).await.unwrap();
    let options = ClusterOptions::new(PasswordAuthenticator::new("tester", "secret").into());
    let cluster = Cluster::connect(node.url(), options).await.unwrap();
    let read =
        cluster.bucket("test").default_collection().get("account:alice", None).await.unwrap();
    assert_eq!(read.content_as::<Value>().unwrap(), json!({ "balance": 7 }));
}

#[tokio::test]
async fn what_is_too_large_is_not_even_sent() {
    let (node, backend) = start().await;
    let huge = Bytes::from(vec![b'1'; MAX_DOCUMENT_BYTES]);
    let refused = backend.insert(&key(), huge, meta(1)).await.unwrap_err();
    let CasError::TooLarge { what, limit, .. } = refused else { panic!("{refused}") };
    assert!(what.contains("account:alice"), "{what}");
    assert_eq!(limit, MAX_DOCUMENT_BYTES);
    let huge = bytes(&json!({ "m": "1".repeat(MAX_XATTR_BYTES) }));
    let refused = backend.insert(&key(), body(1), huge).await.unwrap_err();
    assert!(matches!(refused, CasError::TooLarge { limit: MAX_XATTR_BYTES, .. }), "{refused}");
    let largest = Bytes::from(vec![b'1'; MAX_DOCUMENT_BYTES - 100]);
    assert_eq!(node.requests("mutate-in"), 0);
    backend.insert(&key(), largest.clone(), meta(1)).await.unwrap();
    assert_eq!(backend.get(&key()).await.unwrap().unwrap().body, largest);
}

#[tokio::test]
async fn bodies_that_are_no_json_come_back_too() {
    let (_node, backend) = start().await;
    for (number, body) in [&b""[..], &[0], &[0; 8], b"no JSON"].into_iter().enumerate() {
        let key = DocKey::new("raw", &number).unwrap();
        let cas = backend.insert(&key, Bytes::copy_from_slice(body), meta(1)).await.unwrap();
        backend.replace(&key, cas, None, meta(2)).await.unwrap();
        assert_eq!(backend.get(&key).await.unwrap().unwrap().body, body);
    }
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    for effect in [
        Effect::TemporaryFailure,
        Effect::Locked,
        Effect::WriteInProgress,
        Effect::RecommitInProgress,
        Effect::NotMyVbucket,
        Effect::Slow(Duration::from_millis(30)),
    ] {
        let (node, backend) = start().await;
        node.faults().add(Fault::new(effect).on(On::Writes).times(2));
        let first = backend.insert(&key(), body(1), meta(1)).await.unwrap();
        node.faults().clear();
        node.faults().add(Fault::new(effect).on(On::Writes).times(1));
        let second = backend.replace(&key(), first, None, meta(2)).await.unwrap();
        node.faults().add(Fault::new(effect).on(On::Reads).times(2));
        assert_eq!(backend.get(&key()).await.unwrap().unwrap().cas, second, "{effect:?}");
        node.faults().clear();
        node.faults().add(Fault::new(effect).on(On::Writes).times(1));
        backend.remove(&key(), second).await.unwrap();
        assert!(node.faults().happened() >= 4, "{effect:?}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_unavailable() {
    for effect in [Effect::TemporaryFailure, Effect::WriteInProgress, Effect::DurabilityImpossible]
    {
        let node = Node::start(NodeConfig::default()).await.unwrap();
        let impatient = config(&node).patience(Duration::from_millis(20));
        let backend = CouchbaseBackend::connect(impatient).await.unwrap();
        node.faults().add(Fault::new(effect).on(On::Writes));
        let refused = backend.insert(&key(), body(1), meta(1)).await.unwrap_err();
        assert!(matches!(refused, CasError::Unavailable(_)), "{effect:?}: {refused}");
        assert_eq!(node.documents(), 0, "{effect:?}");
    }
}

/// Whether a write that got no clear answer was done, and what is said of it.
async fn unclear(effect: Effect) -> (CasError, bool) {
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let hasty = config(&node).write_timeout(Duration::from_millis(300));
    let backend = CouchbaseBackend::connect(hasty).await.unwrap();
    node.faults().add(Fault::new(effect).on(On::Writes));
    let error = backend.insert(&key(), body(1), meta(1)).await.unwrap_err();
    assert_eq!(node.requests("mutate-in"), 1, "{effect:?}: the driver asks once, not again");
    node.faults().clear();
    let found = backend.get(&key()).await.unwrap();
    (error, found.is_some())
}

#[tokio::test]
async fn what_is_unclear_is_ambiguous_and_not_repeated() {
    for applied in [true, false] {
        for effect in
            [Effect::Ambiguous { applied }, Effect::NoAnswer { applied }, Effect::Cut { applied }]
        {
            let (error, is_there) = unclear(effect).await;
            assert!(matches!(error, CasError::Ambiguous(_)), "{effect:?}: {error}");
            assert_eq!(is_there, applied, "{effect:?}");
        }
    }
    let (error, is_there) = unclear(Effect::InternalError).await;
    assert!(matches!(error, CasError::Ambiguous(_)), "{error}");
    assert!(!is_there);
}

#[tokio::test]
async fn an_ambiguous_removal_is_ambiguous() {
    let (node, backend) = start().await;
    let cas = backend.insert(&key(), body(1), meta(1)).await.unwrap();
    node.faults().add(Fault::new(Effect::Ambiguous { applied: true }).on(On::Writes).times(1));
    assert!(matches!(backend.remove(&key(), cas).await, Err(CasError::Ambiguous(_))));
    assert_eq!(backend.get(&key()).await.unwrap(), None);
}

#[tokio::test]
async fn a_stale_write_stays_stale_whatever_the_faults() {
    let (node, backend) = start().await;
    let cas = backend.insert(&key(), body(1), meta(1)).await.unwrap();
    backend.replace(&key(), cas, Some(body(2)), meta(2)).await.unwrap();
    node.faults().add(Fault::new(Effect::WriteInProgress).on(On::Writes).times(2));
    let stale = backend.replace(&key(), cas, Some(body(3)), meta(3)).await;
    assert!(matches!(stale, Err(CasError::Mismatch)));
    let invented = backend.replace(&key(), Cas(1), Some(body(3)), meta(3)).await;
    assert!(matches!(invented, Err(CasError::Mismatch)));
    assert_eq!(backend.get(&key()).await.unwrap().unwrap().body, body(2));
}

#[tokio::test]
async fn a_read_that_was_cut_off_is_repeated() {
    let (node, backend) = start().await;
    backend.insert(&key(), body(1), meta(1)).await.unwrap();
    node.faults().add(Fault::new(Effect::Cut { applied: true }).on(On::Reads).times(1));
    assert_eq!(backend.get(&key()).await.unwrap().unwrap().body, body(1));
}

#[tokio::test]
async fn a_read_without_an_answer_is_unavailable() {
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let hasty = config(&node).read_timeout(Duration::from_millis(100));
    let backend = CouchbaseBackend::connect(hasty).await.unwrap();
    node.faults().add(Fault::new(Effect::NoAnswer { applied: true }).on(On::Reads).times(1));
    assert!(matches!(backend.get(&key()).await, Err(CasError::Unavailable(_))));
}

/// A write whose time ran out may still be on its way. It finds another state, or it is the write.
#[tokio::test]
async fn a_late_write_changes_nothing_that_came_after_it() {
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let hasty = config(&node).write_timeout(Duration::from_millis(50));
    let backend = CouchbaseBackend::connect(hasty).await.unwrap();
    let cas = backend.insert(&key(), body(1), meta(1)).await.unwrap();
    node.faults().add(Fault::new(Effect::Slow(Duration::from_millis(200))).on(On::Writes).times(1));
    let late = backend.replace(&key(), cas, Some(body(2)), meta(2)).await;
    assert!(matches!(late, Err(CasError::Ambiguous(_))));
    backend.replace(&key(), cas, Some(body(3)), meta(3)).await.unwrap();
    // It is done once the node has answered another request of the same slowness after it.
    let slow = Fault::new(Effect::Slow(Duration::from_millis(250))).on(On::Reads).times(1);
    node.faults().add(slow);
    assert_eq!(backend.get(&key()).await.unwrap().unwrap().body, body(3));
}
