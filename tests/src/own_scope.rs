//! A scope of a real Couchbase cluster for one test, removed when the test ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use couchbase::authenticator::PasswordAuthenticator;
use couchbase::cluster::Cluster;
use couchbase::options::cluster_options::{ClusterOptions, TlsOptions};
use rpc::store::couchbase::CouchbaseConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const COLLECTION: &str = "documents";

/// A scope that goes, with all that is in it, when this is dropped.
pub struct OwnScope {
    config: CouchbaseConfig,
}

impl OwnScope {
    /// Makes a new scope, with one collection, in the bucket of this configuration.
    ///
    /// # Panics
    /// If the cluster does not make it: then there is nothing to test on.
    pub async fn create(config: CouchbaseConfig) -> OwnScope {
        let name = format!("rpc_test_{:x}", unique());
        let scope = OwnScope { config: config.scope(name.as_str()).collection(COLLECTION) };
        let cluster = scope.cluster().await;
        let manager = cluster.bucket(&scope.config.bucket).collections();
        manager.create_scope(&name, None).await.expect("a scope can be made");
        manager
            .create_collection(&name, COLLECTION, None, None)
            .await
            .expect("a collection can be made");
        scope
    }

    /// How a store is opened in it.
    #[must_use]
    pub fn config(&self) -> &CouchbaseConfig {
        &self.config
    }

    /// The same as a URL, without user and password.
    #[must_use]
    pub fn url(&self) -> String {
        let CouchbaseConfig { url, bucket, scope, collection, .. } = &self.config;
        let mut options = Vec::new();
        if let Some(file) = &self.config.ca_file {
            options.push(format!("ca={}", file.display()));
        }
        if !self.config.require_durability {
            options.push("durability=none".to_owned());
        }
        format!("{url}/{bucket}/{scope}/{collection}?{}", options.join("&"))
    }

    async fn cluster(&self) -> Cluster {
        let login = PasswordAuthenticator::new(&self.config.user, &self.config.password);
        let mut options = ClusterOptions::new(login.into());
        if let Some(file) = &self.config.ca_file {
            let certificates = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .expect("the CA file can be read");
            options = options.tls_options(TlsOptions::new().add_ca_certificates(certificates));
        }
        Cluster::connect(&self.config.url, options).await.expect("the cluster can be reached")
    }

    fn remove(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("there are threads").block_on(async {
            let cluster = self.cluster().await;
            let manager = cluster.bucket(&self.config.bucket).collections();
            if let Err(error) = manager.drop_scope(&self.config.scope, None).await {
                println!("the scope {} stays: {error}", self.config.scope);
            }
        });
    }
}

impl Drop for OwnScope {
    fn drop(&mut self) {
        // A runtime cannot wait inside another one: it gets a thread of its own.
        std::thread::scope(|threads| {
            threads.spawn(|| self.remove());
        });
    }
}

/// A number that no other process and no other call has got, as good as certainly.
#[must_use]
pub fn unique() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let low = u64::try_from(now & u128::from(u64::MAX)).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    low ^ (count << 48) ^ (u64::from(std::process::id()) << 32)
}
