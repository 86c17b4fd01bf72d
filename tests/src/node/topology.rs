//! What the node says of the cluster: its configuration, its bucket, its errors.

use serde_json::{Value, json};

use super::{DataServer, Server, Shared};

/// The version of the error map that the driver asks for.
const ERROR_MAP_VERSION: u64 = 2;
const CLUSTER_UUID: &str = "5d5a1f2c0a0b4e2f8f6f0c1d2e3f4a5b";
const BUCKET_UUID: &str = "0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f";

/// The configuration of the cluster, as this data server says it, and, for who has selected the
/// bucket, its map. No replica is anywhere.
pub(super) fn configuration(shared: &Shared, server: DataServer, with_bucket: bool) -> Vec<u8> {
    let map = shared.map();
    let nodes = shared.servers.iter().enumerate().map(|(number, Server { kv, http })| {
        let mut services = json!({ "kv": kv.plain.port(), "mgmt": http.plain.port() });
        if let (Some(kv), Some(mgmt)) = (kv.tls, http.tls) {
            services["kvSSL"] = json!(kv.port());
            services["mgmtSSL"] = json!(mgmt.port());
        }
        json!({
            "services": services,
            "thisNode": DataServer(number) == server,
            "hostname": kv.plain.ip().to_string(),
        })
    });
    let mut config = json!({
        "rev": map.revision(),
        "revEpoch": 1,
        "nodesExt": nodes.collect::<Vec<_>>(),
        "clusterCapabilitiesVer": [1, 0],
        "clusterCapabilities": {},
        "clusterUUID": CLUSTER_UUID,
        "clusterName": "a node for tests",
    });
    if with_bucket {
        let vbuckets: Vec<Value> = map.owners().iter().map(|owner| json!([owner.0, -1])).collect();
        let servers = shared.servers.iter().map(|server| server.kv.plain);
        let nodes = servers
            .clone()
            .map(|kv| json!({ "hostname": kv.to_string(), "ports": { "direct": kv.port() } }));
        config["name"] = json!(shared.config.bucket);
        config["nodeLocator"] = json!("vbucket");
        config["uuid"] = json!(BUCKET_UUID);
        config["bucketCapabilitiesVer"] = json!("");
        config["bucketCapabilities"] =
            json!(["collections", "durableWrite", "couchapi", "xattr", "nodesExt", "cccp"]);
        config["nodes"] = json!(nodes.collect::<Vec<_>>());
        config["vBucketServerMap"] = json!({
            "hashAlgorithm": "CRC",
            "numReplicas": 1,
            "serverList": servers.map(|kv| kv.to_string()).collect::<Vec<_>>(),
            "vBucketMap": vbuckets,
        });
    }
    config.to_string().into_bytes()
}

/// The settings of the bucket, as the management API has them.
pub(super) fn bucket_settings(shared: &Shared) -> Value {
    let config = &shared.config;
    json!({
        "name": config.bucket,
        "uuid": BUCKET_UUID,
        "bucketType": "membase",
        "storageBackend": "couchstore",
        "replicaNumber": config.replicas,
        "replicaIndex": false,
        "quota": { "ram": 100 << 20, "rawRAM": 100 << 20 },
        "evictionPolicy": config.eviction,
        "durabilityMinLevel": config.durability,
        "conflictResolutionType": "seqno",
        "maxTTL": config.max_ttl,
        "compressionMode": "off",
        "numVBuckets": config.vbuckets,
    })
}

/// What the driver should make of states that it does not know.
pub(super) fn error_map() -> Vec<u8> {
    let errors = [
        (0x01, "KEY_ENOENT", &["item-only"][..]),
        (0x02, "KEY_EEXISTS", &["item-only"]),
        (0x03, "E2BIG", &["item-only", "invalid-input"]),
        (0x04, "EINVAL", &["internal", "invalid-input"]),
        (0x07, "NOT_MY_VBUCKET", &["fetch-config", "invalid-input"]),
        (0x08, "NO_BUCKET", &["conn-state-invalidated"]),
        (0x09, "LOCKED", &["item-locked", "item-only", "retry-now"]),
        (0x24, "EACCESS", &["support"]),
        (0x81, "UNKNOWN_COMMAND", &["support"]),
        (0x83, "NOT_SUPPORTED", &["support"]),
        (0x84, "EINTERNAL", &["internal"]),
        (0x86, "ETMPFAIL", &["temp", "retry-later"]),
        (0xa2, "SYNC_WRITE_IN_PROGRESS", &["item-only", "retry-later"]),
        (0xa3, "SYNC_WRITE_AMBIGUOUS", &["item-only"]),
        (0xa4, "SYNC_WRITE_RE_COMMIT_IN_PROGRESS", &["item-only", "retry-later"]),
    ];
    let errors: serde_json::Map<String, Value> = errors
        .into_iter()
        .map(|(code, name, attributes)| {
            let entry = json!({ "name": name, "desc": name, "attrs": attributes });
            (format!("{code:x}"), entry)
        })
        .collect();
    json!({ "version": ERROR_MAP_VERSION, "revision": 1, "errors": errors })
        .to_string()
        .into_bytes()
}
