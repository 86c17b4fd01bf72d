//! A server process: the bank over an embedded store, or over one that several share.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bank_business::{BankServer, BankService};
use rpc::Server;
use rpc::store::Store;
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};

use super::Failed;

/// What a server process is given.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Where to listen
    #[arg(long)]
    pub listen: String,
    /// Where an embedded store lies
    #[arg(long, required_unless_present = "store", conflicts_with = "store")]
    pub data: Option<PathBuf>,
    /// The URL of a shared store
    #[arg(long)]
    pub store: Option<String>,
    /// Do all on one thread, so that its system calls have an order
    #[arg(long)]
    pub one_thread: bool,
}

/// Serves until the process is killed. Says `READY <address>` once it listens.
///
/// # Errors
/// If the store cannot be opened, or the address not be had.
pub async fn run(args: ServeArgs) -> Result<(), Failed> {
    let failed = |error: &dyn std::fmt::Display| Failed(error.to_string());
    let store: Arc<dyn Store> = match (&args.data, &args.store) {
        (Some(data), _) => Arc::new(
            EmbeddedStore::open(data, EmbeddedConfig::default()).map_err(|error| failed(&error))?,
        ),
        (None, Some(url)) => shared(url).await?,
        (None, None) => return Err(Failed("neither --data nor --store".to_owned())),
    };
    let server = Server::builder(BankServer::new(BankService), store)
        .bind(args.listen.as_str())
        .await
        .map_err(|error| failed(&error))?;
    println!("READY {}", server.local_addr());
    std::io::stdout().flush().map_err(|error| failed(&error))?;
    server.serve().await;
    Ok(())
}

#[cfg(feature = "couchbase")]
async fn shared(url: &str) -> Result<Arc<dyn Store>, Failed> {
    use rpc::store::couchbase::{CouchbaseConfig, CouchbaseStore};

    let config = CouchbaseConfig::from_url(url).map_err(|error| Failed(error.to_string()))?;
    let config = config.or_env();
    let store = CouchbaseStore::connect(config).await.map_err(|error| Failed(error.to_string()))?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "couchbase"))]
async fn shared(_: &str) -> Result<Arc<dyn Store>, Failed> {
    Err(Failed("built without shared stores: --features couchbase".to_owned()))
}
