//! TLS on which both ends show who they are: who gets in and as whom, and that calls happen exactly once over
//! connections that are cut and garbled.

mod caller;
mod exactly_once;
mod identity;
mod material;
mod raw;
mod strangers;
mod wire;

use std::sync::Arc;

use rpc::store::{MemoryStore, Store};
use rpc::transport::{Listener, Tls, TlsAcceptor};
use rpc::{Server, ServerConfig, ServerHandle};
use rpc_tests::certificates::{Authority, Issued};
use rpc_tests::world::{Gates, LedgerOn, LedgerServer};

/// What servers are called.
const BANK: &str = "bank.example";

/// A server of the ledger that runs.
struct Bank {
    address: String,
    handle: ServerHandle<LedgerServer<LedgerOn>>,
    store: Arc<MemoryStore>,
    gates: Arc<Gates>,
}

impl Bank {
    /// One on this listener, which has the certificate of [`BANK`].
    fn open(listener: impl Listener, tls: Tls) -> Bank {
        Bank::open_with(listener, tls, ServerConfig::default())
    }

    fn open_with(listener: impl Listener, tls: Tls, config: ServerConfig) -> Bank {
        let (store, gates) = (Arc::new(MemoryStore::new()), Arc::<Gates>::default());
        let service = LedgerServer::new(LedgerOn::new("A", &gates));
        let server = Server::builder(service, Arc::clone(&store) as Arc<dyn Store>)
            .config(config)
            .listen_on(TlsAcceptor::new(listener, tls));
        let (address, handle) = (server.address(), server.handle());
        tokio::spawn(server.serve());
        Bank { address, handle, store, gates }
    }
}

/// An end with what was issued, which believes this authority.
fn end(issued: &Issued, authority: &Authority) -> Tls {
    issued.believing(authority).expect("it is whole")
}
