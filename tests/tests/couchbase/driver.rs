//! The official driver, unmodified, with the test node: what the store builds on, and what the
//! driver's documentation leaves open.

use std::sync::Arc;
use std::time::Duration;

use couchbase::authenticator::PasswordAuthenticator;
use couchbase::cluster::Cluster;
use couchbase::collection::Collection;
use couchbase::durability_level::DurabilityLevel;
use couchbase::error::ErrorKind;
use couchbase::options::cluster_options::ClusterOptions;
use couchbase::options::kv_options::{
    InsertOptions, MutateInOptions, RemoveOptions, ReplaceOptions, StoreSemantics,
};
use couchbase::subdoc::lookup_in_specs::{GetSpecOptions, LookupInSpec};
use couchbase::subdoc::mutate_in_specs::{MutateInSpec, UpsertSpecOptions};
use rpc_tests::node::{Effect, Fault, Node, NodeConfig};
use serde_json::{Value, json};

/// Long enough for a slow machine; nothing here waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

async fn cluster(node: &Node) -> Cluster {
    let options = ClusterOptions::new(PasswordAuthenticator::new("tester", "secret").into());
    tokio::time::timeout(PATIENCE, Cluster::connect(node.url(), options)).await.unwrap().unwrap()
}

async fn connected() -> (Node, Cluster, Collection) {
    let node = Node::start(NodeConfig::default()).await.unwrap();
    let cluster = cluster(&node).await;
    let collection = cluster.bucket("test").default_collection();
    (node, cluster, collection)
}

fn xattr_upsert(value: &Value) -> MutateInSpec {
    MutateInSpec::upsert("rpc", value, UpsertSpecOptions::new().xattr(true)).unwrap()
}

fn whole_body(value: &Value) -> MutateInSpec {
    MutateInSpec::replace("", value, None).unwrap()
}

fn both() -> [LookupInSpec; 2] {
    [LookupInSpec::get("rpc", GetSpecOptions::new().xattr(true)), LookupInSpec::get("", None)]
}

#[tokio::test]
async fn it_connects_and_works_on_documents() {
    let (_node, _cluster, collection) = connected().await;
    let inserted = collection.insert("a", &json!({ "balance": 1 }), None).await.unwrap();
    let read = collection.get("a", None).await.unwrap();
    assert_eq!(read.content_as::<Value>().unwrap(), json!({ "balance": 1 }));
    assert_eq!(read.cas(), inserted.cas());

    let again = collection.insert("a", &json!({}), InsertOptions::new()).await.unwrap_err();
    assert_eq!(*again.kind(), ErrorKind::DocumentExists);

    let replaced = ReplaceOptions::new().cas(inserted.cas());
    let replaced = collection.replace("a", &json!({ "balance": 2 }), replaced).await.unwrap();
    assert_ne!(replaced.cas(), inserted.cas());
    let stale = ReplaceOptions::new().cas(inserted.cas());
    let stale = collection.replace("a", &json!({ "balance": 3 }), stale).await.unwrap_err();
    assert_eq!(*stale.kind(), ErrorKind::CasMismatch);

    let stale = collection.remove("a", RemoveOptions::new().cas(inserted.cas())).await.unwrap_err();
    assert_eq!(*stale.kind(), ErrorKind::CasMismatch);
    collection.remove("a", RemoveOptions::new().cas(replaced.cas())).await.unwrap();
    assert_eq!(*collection.get("a", None).await.unwrap_err().kind(), ErrorKind::DocumentNotFound);
}

#[tokio::test]
async fn body_and_attribute_are_written_in_one_step() {
    let (_node, _cluster, collection) = connected().await;
    let insert = MutateInOptions::new().store_semantics(StoreSemantics::Insert);
    let specs = [xattr_upsert(&json!({ "w": 1 })), whole_body(&json!({ "balance": 5 }))];
    let inserted = collection.mutate_in("a", &specs, insert.clone()).await.unwrap();

    let found = collection.lookup_in("a", &both(), None).await.unwrap();
    assert_eq!(found.cas(), inserted.cas());
    assert_eq!(found.content_as::<Value>(0).unwrap(), json!({ "w": 1 }));
    assert_eq!(found.content_as::<Value>(1).unwrap(), json!({ "balance": 5 }));

    // An insert over a document is a mismatch, not an existing document.
    let over = collection.mutate_in("a", &specs, insert).await.unwrap_err();
    assert_eq!(*over.kind(), ErrorKind::CasMismatch);

    // One path that fails leaves everything as it was.
    let failing = [
        xattr_upsert(&json!({ "w": 2 })),
        MutateInSpec::replace_raw(
            "missing",
            b"1".to_vec(),
            couchbase::subdoc::mutate_in_specs::ReplaceSpecOptions::new().xattr(true),
        ),
        whole_body(&json!({ "balance": 6 })),
    ];
    let failed = collection.mutate_in("a", &failing, None).await.unwrap_err();
    assert_eq!(*failed.kind(), ErrorKind::PathNotFound);
    let unchanged = collection.lookup_in("a", &both(), None).await.unwrap();
    assert_eq!(unchanged.cas(), inserted.cas());

    // The attribute alone: the body stays.
    let with_cas = MutateInOptions::new().cas(inserted.cas());
    collection.mutate_in("a", &[xattr_upsert(&json!({ "w": 3 }))], with_cas.clone()).await.unwrap();
    let stale = collection.mutate_in("a", &[xattr_upsert(&json!({ "w": 4 }))], with_cas).await;
    assert_eq!(*stale.unwrap_err().kind(), ErrorKind::CasMismatch);
    let found = collection.lookup_in("a", &both(), None).await.unwrap();
    assert_eq!(found.content_as::<Value>(0).unwrap(), json!({ "w": 3 }));
    assert_eq!(found.content_as::<Value>(1).unwrap(), json!({ "balance": 5 }));
}

#[tokio::test]
async fn a_body_written_alone_keeps_the_attribute() {
    let (_node, _cluster, collection) = connected().await;
    let insert = MutateInOptions::new().store_semantics(StoreSemantics::Insert);
    let specs = [xattr_upsert(&json!({ "w": 1 })), whole_body(&json!({ "balance": 5 }))];
    collection.mutate_in("a", &specs, insert).await.unwrap();
    collection.upsert("a", &json!({ "balance": 6 }), None).await.unwrap();
    let found = collection.lookup_in("a", &both(), None).await.unwrap();
    assert_eq!(found.content_as::<Value>(0).unwrap(), json!({ "w": 1 }));
    assert_eq!(found.content_as::<Value>(1).unwrap(), json!({ "balance": 6 }));
}

#[tokio::test]
async fn the_virtual_document_has_the_cas() {
    let (_node, _cluster, collection) = connected().await;
    let inserted = collection.insert("a", &json!({ "b": { "c": 7 } }), None).await.unwrap();
    let xattr = || GetSpecOptions::new().xattr(true);
    let specs = [
        LookupInSpec::get("$document", xattr()),
        LookupInSpec::get("$document.CAS", xattr()),
        LookupInSpec::get("rpc", xattr()),
        LookupInSpec::get("b.c", None),
        LookupInSpec::exists("b.d", None),
    ];
    let found = collection.lookup_in("a", &specs, None).await.unwrap();
    let cas = format!("0x{:016x}", inserted.cas());
    assert_eq!(found.content_as::<Value>(0).unwrap()["CAS"], json!(cas));
    assert_eq!(found.content_as::<String>(1).unwrap(), cas);
    assert_eq!(*found.content_as_raw(2).unwrap_err().kind(), ErrorKind::PathNotFound);
    assert_eq!(found.content_as::<u64>(3).unwrap(), 7);
    assert!(!found.exists(4).unwrap());
}

#[tokio::test]
async fn durable_writes_are_taken_and_refused() {
    let (_node, _cluster, collection) = connected().await;
    let durable = || InsertOptions::new().durability_level(DurabilityLevel::MAJORITY);
    collection.insert("a", &json!(1), durable()).await.unwrap();

    let config = {
        let mut config = NodeConfig::default();
        config.replicas = 3;
        config
    };
    let three = Node::start(config).await.unwrap();
    let cluster = cluster(&three).await;
    let collection = cluster.bucket("test").default_collection();
    let refused = collection.insert("a", &json!(1), durable()).await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::DurabilityImpossible);
}

#[tokio::test]
async fn collections_come_and_go() {
    let (node, cluster, _) = connected().await;
    let bucket = cluster.bucket("test");
    let manager = bucket.collections();
    manager.create_scope("live", None).await.unwrap();
    let twice = manager.create_scope("live", None).await.unwrap_err();
    assert_eq!(*twice.kind(), ErrorKind::ScopeExists);
    manager.create_collection("live", "accounts", None, None).await.unwrap();
    let accounts = bucket.scope("live").collection("accounts");
    accounts.insert("a", &json!(1), None).await.unwrap();
    bucket.default_collection().insert("a", &json!(2), None).await.unwrap();
    assert_eq!(accounts.get("a", None).await.unwrap().content_as::<u64>().unwrap(), 1);
    assert_eq!(node.documents(), 2);
    manager.drop_scope("live", None).await.unwrap();
    assert_eq!(node.documents(), 1);
    let gone = manager.drop_scope("live", None).await.unwrap_err();
    assert_eq!(*gone.kind(), ErrorKind::ScopeNotFound);
}

#[tokio::test]
async fn a_changed_map_is_taken_over() {
    let (node, _cluster, collection) = connected().await;
    node.faults().add(Fault::new(Effect::NotMyVbucket).times(3));
    collection.insert("a", &json!(1), None).await.unwrap();
    assert_eq!(node.faults().happened(), 3);
    assert_eq!(node.requests("add"), 4);
}

/// Two data servers, and a collection of documents over all vBuckets of both.
async fn two_servers() -> (Node, Cluster, Collection) {
    let mut config = NodeConfig::default();
    config.data_servers = 2;
    let node = Node::start(config).await.unwrap();
    let cluster = cluster(&node).await;
    let collection = cluster.bucket("test").default_collection();
    for number in 0..32_u64 {
        let inserted = collection.insert(format!("key-{number}"), &number, None);
        tokio::time::timeout(PATIENCE, inserted).await.unwrap().unwrap();
    }
    (node, cluster, collection)
}

#[tokio::test]
async fn documents_lie_on_the_server_that_the_map_names() {
    let (node, _cluster, _collection) = two_servers().await;
    let at = |server| node.requests_to(server, "add");
    assert!(at(0) > 0 && at(1) > 0, "each server has vBuckets");
    assert_eq!(at(0) + at(1), 32, "none was asked in vain");
}

#[tokio::test]
async fn the_driver_follows_vbuckets_that_move() {
    let (node, _cluster, collection) = two_servers().await;
    for (from, to) in [(0, 1), (1, 0)] {
        node.move_vbuckets(from, to);
        let before = node.requests_to(to, "get");
        for number in 0..32_u64 {
            let key = format!("key-{number}");
            let read = collection.get(&key, None).await.unwrap();
            assert_eq!(read.content_as::<u64>().unwrap(), number);
        }
        assert_eq!(node.requests_to(to, "get") - before, 32, "all were answered by server {to}");
        let asked_in_vain = node.requests_to(from, "get");
        collection.get("key-0", None).await.unwrap();
        assert_eq!(node.requests_to(from, "get"), asked_in_vain, "the driver has the new map");
    }
}

#[tokio::test]
async fn a_fault_moves_the_vbucket_of_its_document() {
    let (node, _cluster, collection) = two_servers().await;
    let counts = || [0, 1].map(|server| node.requests_to(server, "replace"));
    collection.replace("key-0", &1, None).await.unwrap();
    let first = counts();
    node.faults().add(Fault::new(Effect::NotMyVbucket).times(1));
    collection.replace("key-0", &2, None).await.unwrap();
    let [a, b] = counts();
    assert_eq!((a.min(b), a.max(b)), (1, 2), "{first:?}: refused by one, done by the other");
    let read = collection.get("key-0", None).await.unwrap();
    assert_eq!(read.content_as::<u64>().unwrap(), 2);
}

#[tokio::test]
async fn what_the_node_does_not_know_it_refuses() {
    let (_node, _cluster, collection) = connected().await;
    collection.insert("a", &json!({ "b": 1 }), None).await.unwrap();
    let in_the_body = [MutateInSpec::upsert("b", 2, None).unwrap()];
    let refused = collection.mutate_in("a", &in_the_body, None).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::OtherFailure(_)), "{refused}");
    let read = collection.get("a", None).await.unwrap();
    assert_eq!(read.content_as::<Value>().unwrap(), json!({ "b": 1 }));
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let (_node, _cluster, collection) = connected().await;
    let collection = Arc::new(collection);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200_u64 {
        let collection = Arc::clone(&collection);
        tasks.spawn(async move {
            let key = format!("key-{number}");
            collection.insert(&key, &number, None).await.unwrap();
            collection.get(&key, None).await.unwrap().content_as::<u64>().unwrap() == number
        });
    }
    while let Some(is_own) = tasks.join_next().await {
        assert!(is_own.unwrap());
    }
}
