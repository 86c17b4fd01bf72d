//! Real sockets: servers that stop in the middle of a call.

use std::sync::Arc;
use std::time::Duration;

use rpc::store::{MemoryStore, Store};
use rpc_tests::world::{Gates, LedgerClient, LedgerOn, LedgerServer, Point, stats};
use tokio::task::JoinHandle;

/// Fails a test that hangs.
const HANGS: Duration = Duration::from_secs(60);

struct Fleet {
    gates: Arc<Gates>,
    store: Arc<dyn Store>,
}

impl Fleet {
    fn new() -> Fleet {
        Fleet { gates: Arc::default(), store: Arc::new(MemoryStore::new()) }
    }

    /// A server on a free port.
    async fn start(&self, name: &str) -> (String, JoinHandle<()>) {
        let service = LedgerServer::new(LedgerOn::new(name, &self.gates));
        let server = rpc::Server::builder(service, Arc::clone(&self.store));
        let server = server.bind("127.0.0.1:0").await.unwrap();
        (server.address(), tokio::spawn(server.serve()))
    }
}

async fn connect<const N: usize>(addresses: [String; N]) -> LedgerClient {
    rpc::Client::builder().connect(addresses).await.unwrap()
}

#[tokio::test]
async fn a_call_outlives_its_server() {
    let fleet = Fleet::new();
    let (a, server_a) = fleet.start("A").await;
    let (b, _server_b) = fleet.start("B").await;
    let ledger = connect([a, b]).await;
    for point in [Point::Start, Point::End] {
        let reference = format!("{point:?}");
        let at_a = fleet.gates.close("A", &reference, point);
        let at_b = fleet.gates.close("B", &reference, point);
        let call = tokio::spawn(ledger.deposit("alice".into(), 10, reference.clone()));
        // Whichever server has it; the other is asked when that one stops.
        tokio::select! {
            () = at_a.reached() => {
                server_a.abort();
                at_b.open();
            }
            () = at_b.reached() => at_b.open(),
        }
        tokio::time::timeout(HANGS, call).await.unwrap().unwrap().unwrap();
        at_a.open();
    }
    let balance = ledger.balance("alice".into(), "look".into()).await.unwrap();
    assert_eq!(balance, 20, "each took effect once");
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let fleet = Fleet::new();
    let (a, server_a) = fleet.start("A").await;
    let ledger = connect([a.clone()]).await;
    ledger.deposit("alice".into(), 1, "before".into()).await.unwrap();
    server_a.abort();
    assert!(server_a.await.unwrap_err().is_cancelled());
    let call = tokio::spawn(ledger.deposit("alice".into(), 1, "while it is down".into()));

    let service = LedgerServer::new(LedgerOn::new("A again", &fleet.gates));
    let server =
        rpc::Server::builder(service, Arc::clone(&fleet.store)).bind(&a[..]).await.unwrap();
    tokio::spawn(server.serve());
    assert_eq!(tokio::time::timeout(HANGS, call).await.unwrap().unwrap().unwrap(), 2);
    assert!(stats(&ledger).connections > 1);
}
