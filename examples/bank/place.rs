//! Where the bank's documents lie: in a directory of this machine, or in a store that servers of
//! several machines share.

use std::path::Path;
use std::sync::Arc;

use rpc::store::Store;
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};

use crate::failure::Failure;

/// A store, and what it is called.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    /// Without a password.
    pub(crate) name: String,
}

/// Opens the embedded store; its errors say what to do.
pub(crate) fn open_directory(data: &Path) -> Result<Opened, Failure> {
    let store = EmbeddedStore::open(data, EmbeddedConfig::default());
    let store = Arc::new(store.map_err(Failure::unusable)?);
    Ok(Opened { store, name: data.display().to_string() })
}

/// Opens the store of this URL; its errors say what to do.
#[cfg(feature = "couchbase")]
pub(crate) async fn open_shared(url: &str) -> Result<Opened, Failure> {
    use rpc::store::couchbase::{CouchbaseConfig, CouchbaseStore};

    let config = CouchbaseConfig::from_url(url).map_err(Failure::unusable)?.or_env();
    let name = format!("{}/{}/{}/{}", config.url, config.bucket, config.scope, config.collection);
    let store = CouchbaseStore::connect(config).await.map_err(Failure::unusable)?;
    Ok(Opened { store: Arc::new(store), name })
}

/// Says what is missing.
#[cfg(not(feature = "couchbase"))]
pub(crate) async fn open_shared(_url: &str) -> Result<Opened, Failure> {
    Err(Failure::unusable("this bank was built without shared stores: --features couchbase"))
}
