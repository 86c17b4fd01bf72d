//! The exactly-once store on a Couchbase cluster.
//!
//! ```no_run
//! use rpc::store::couchbase::{CouchbaseConfig, CouchbaseStore};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = CouchbaseConfig::from_url("couchbase://bank:secret@10.0.0.1/bank")?;
//! let store = CouchbaseStore::connect(config).await?;
//! # Ok(()) }
//! ```
//!
//! `docs/couchbase.md` says how to set up and run a cluster for it, and what is made of each error.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`CouchbaseStore::connect`], and what it refuses to start on |
//! | `config.rs` | [`CouchbaseConfig`] |
//! | `backend.rs` | [`CouchbaseBackend`]: documents, metadata and compare-and-swap by the driver |
//! | `verdict.rs` | what each error of the driver means |

mod backend;
mod config;
mod verdict;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use couchbase::authenticator::PasswordAuthenticator;
use couchbase::bucket::Bucket;
use couchbase::cluster::Cluster;
use couchbase::durability_level::DurabilityLevel;
use couchbase::error::Error;
use couchbase::management::buckets::bucket_settings::{BucketSettings, EvictionPolicyType};
use couchbase::management::collections::collection_settings::MaxExpiryValue;
use couchbase::options::cluster_options::{ClusterOptions, KvOptions, TlsOptions};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use tokio::time::{Instant, sleep, timeout};

pub use self::backend::{CouchbaseBackend, MAX_DOCUMENT_BYTES, MAX_XATTR_BYTES, XATTR};
use self::backend::{NoRetries, may_pass, timed_out};
pub use self::config::CouchbaseConfig;
use super::cas::{CasBackend, CasStore};
use super::{DocKey, StoreError};

/// The pause between the tries of what is asked at connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);
/// With more replicas than this Couchbase has no durable writes.
const MAX_REPLICAS: u32 = 2;

/// Makes the store on a Couchbase cluster.
#[derive(Debug)]
pub struct CouchbaseStore;

impl CouchbaseStore {
    /// Connects, and checks that the bucket keeps what is written.
    ///
    /// # Errors
    /// If the settings are incomplete, the cluster does not answer in time, or the bucket would
    /// lose acknowledged writes: minimum durability below `majority`, three replicas (which rule
    /// out durable writes), an ephemeral bucket that evicts, documents that expire.
    pub async fn connect(
        config: CouchbaseConfig,
    ) -> Result<CasStore<CouchbaseBackend>, ConnectError> {
        let backend = CouchbaseBackend::connect(config).await?;
        CasStore::new(backend).map_err(ConnectError::Store)
    }
}

impl CouchbaseBackend {
    /// As [`CouchbaseStore::connect`], without the store above.
    ///
    /// # Errors
    /// The same.
    pub async fn connect(config: CouchbaseConfig) -> Result<CouchbaseBackend, ConnectError> {
        // Behind a pointer: the driver's futures are nested so deeply that a program which awaits
        // this one as it is may not compile.
        let connecting: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connect(config));
        connecting.await
    }
}

/// Why there is no store on a Couchbase cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The settings are wrong or incomplete.
    #[error("{0}")]
    Config(String),
    /// The file with the certificates cannot be used.
    #[error("the CA file {file} cannot be used: {cause}", file = .file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        cause: pem::Error,
    },
    /// The cluster did not answer, or did not let us in: the driver does not tell one from the other.
    #[error(
        "no use of the cluster {url} within {waited:?}: {cause}; check the address, that the \
         cluster is up, user `{user}` and the password{trust}"
    )]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Who asked.
        user: String,
        /// The [`CouchbaseConfig::connect_timeout`].
        waited: Duration,
        /// With TLS, who must vouch for the cluster's certificate; empty without.
        trust: String,
        /// What the last try ended with.
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The settings of the bucket cannot be read.
    #[error(
        "the settings of the bucket `{bucket}` cannot be read: {cause}; check that it exists and \
         that the user may read its settings"
    )]
    Bucket {
        /// The bucket.
        bucket: String,
        /// What the cluster said.
        cause: Error,
    },
    /// The bucket would lose what was acknowledged.
    #[error("the bucket `{bucket}` does not keep what is written: {why}")]
    Unsafe {
        /// The bucket.
        bucket: String,
        /// Why, and what to set.
        why: String,
    },
    /// There is no such collection.
    #[error("the bucket has no collection `{scope}.{collection}`: create it")]
    NoCollection {
        /// The scope.
        scope: String,
        /// The collection.
        collection: String,
    },
    /// The store above the cluster cannot start.
    #[error(transparent)]
    Store(StoreError),
}

async fn connect(config: CouchbaseConfig) -> Result<CouchbaseBackend, ConnectError> {
    config.check()?;
    let options = cluster_options(&config)?;
    let deadline = Deadline::new(&config);
    let cluster = deadline
        .of(Cluster::connect(&config.url, options))
        .await?
        .map_err(|error| deadline.unreachable(error))?;

    let buckets = cluster.buckets();
    let settings = deadline
        .of(patiently(|| buckets.get_bucket(&config.bucket, None)))
        .await?
        .map_err(|cause| ConnectError::Bucket { bucket: config.bucket.clone(), cause })?;
    check_bucket(&settings, &config)?;
    check_collection(&cluster.bucket(&config.bucket), &config, &deadline).await?;

    let backend = CouchbaseBackend::new(cluster, &config);
    let probe = DocKey::new("rpc", &"probe").expect("a short name");
    deadline.of(backend.get(&probe)).await?.map_err(|error| deadline.unreachable(error))?;
    Ok(backend)
}

fn cluster_options(config: &CouchbaseConfig) -> Result<ClusterOptions, ConnectError> {
    let authenticator = PasswordAuthenticator::new(&config.user, &config.password);
    let mut options = ClusterOptions::new(authenticator.into())
        .kv_options(KvOptions::new().num_connections(config.connections))
        .default_retry_strategy(Arc::new(NoRetries));
    if let Some(file) = &config.ca_file {
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .and_then(|all| if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) })
            .map_err(|cause| ConnectError::CaFile { file: file.clone(), cause })?;
        options = options.tls_options(TlsOptions::new().add_ca_certificates(certificates));
    }
    Ok(options)
}

/// Whether what is written to the bucket stays: each of these loses records, and a call whose
/// record is lost happens again.
fn check_bucket(settings: &BucketSettings, config: &CouchbaseConfig) -> Result<(), ConnectError> {
    let refuse = |why: String| Err(ConnectError::Unsafe { bucket: config.bucket.clone(), why });
    if settings.eviction_policy == Some(EvictionPolicyType::NOT_RECENTLY_USED) {
        return refuse(
            "it is ephemeral and evicts documents when memory runs out; use a bucket of type \
             `couchbase`, or the eviction policy `noEviction`"
                .to_owned(),
        );
    }
    if settings.max_expiry.is_some_and(|expiry| !expiry.is_zero()) {
        return refuse("its documents expire; set its `maxTTL` to 0".to_owned());
    }
    if !config.require_durability {
        return Ok(());
    }
    let replicas = settings.num_replicas.unwrap_or(0);
    if replicas > MAX_REPLICAS {
        return refuse(format!(
            "it has {replicas} replicas, and Couchbase has no durable writes with more than \
             {MAX_REPLICAS}; set `replicaNumber` to 1 or 2"
        ));
    }
    let level = settings.minimum_durability_level.clone().unwrap_or(DurabilityLevel::NONE);
    let enough = [
        DurabilityLevel::MAJORITY,
        DurabilityLevel::MAJORITY_AND_PERSIST_ACTIVE,
        DurabilityLevel::PERSIST_TO_MAJORITY,
    ];
    if !enough.contains(&level) {
        return refuse(format!(
            "its minimum durability is `{level}`, so a failover loses acknowledged writes; set \
             `durabilityMinLevel` to `majority` or above (for development only: \
             `require_durability(false)`, or `?durability=none` in the URL)"
        ));
    }
    Ok(())
}

async fn check_collection(
    bucket: &Bucket,
    config: &CouchbaseConfig,
    deadline: &Deadline<'_>,
) -> Result<(), ConnectError> {
    let collections = bucket.collections();
    let scopes = deadline
        .of(patiently(|| collections.get_all_scopes(None)))
        .await?
        .map_err(|cause| ConnectError::Bucket { bucket: config.bucket.clone(), cause })?;
    let found = scopes
        .iter()
        .filter(|scope| scope.name() == config.scope)
        .flat_map(|scope| scope.collections())
        .find(|collection| collection.name() == config.collection);
    let Some(found) = found else {
        return Err(ConnectError::NoCollection {
            scope: config.scope.clone(),
            collection: config.collection.clone(),
        });
    };
    if matches!(found.max_expiry(), MaxExpiryValue::Seconds(_)) {
        return Err(ConnectError::Unsafe {
            bucket: config.bucket.clone(),
            why: format!(
                "documents of the collection `{}.{}` expire; set its `maxTTL` to 0",
                config.scope, config.collection
            ),
        });
    }
    Ok(())
}

/// Asks until the answer is one that stays.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match ask().await {
            Err(error) if may_pass(&error) => {
                tracing::debug!(%error, "not yet connected");
                sleep(CONNECT_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// When connecting is given up.
struct Deadline<'a> {
    at: Instant,
    config: &'a CouchbaseConfig,
}

impl<'a> Deadline<'a> {
    fn new(config: &'a CouchbaseConfig) -> Deadline<'a> {
        Deadline { at: Instant::now() + config.connect_timeout, config }
    }

    async fn of<T>(&self, work: impl Future<Output = T>) -> Result<T, ConnectError> {
        let left = self.at.saturating_duration_since(Instant::now());
        timeout(left, work)
            .await
            .map_err(|_| self.unreachable(timed_out(self.config.connect_timeout)))
    }

    fn unreachable(&self, cause: impl std::error::Error + Send + Sync + 'static) -> ConnectError {
        ConnectError::Unreachable {
            url: self.config.url.clone(),
            user: self.config.user.clone(),
            waited: self.config.connect_timeout,
            trust: self.trust(),
            cause: Arc::new(cause),
        }
    }

    /// The driver does not say that it distrusts a certificate, so this is always worth a look.
    fn trust(&self) -> String {
        match &self.config.ca_file {
            _ if !self.config.uses_tls() => String::new(),
            Some(file) => format!(
                ", and that the CA file {} vouches for the cluster's certificate and its host name",
                file.display()
            ),
            None => ", and that a public authority vouches for the cluster's certificate; for any \
                     other name its CA file (`?ca=FILE`, or COUCHBASE_CA)"
                .to_owned(),
        }
    }
}
