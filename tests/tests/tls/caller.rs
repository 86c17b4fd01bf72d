//! The business hears who calls: on a first attempt, on a retry, after a conflict, and in a read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rpc::store::{MemoryStore, Store};
use rpc::transport::{InProcess, Tcp, TlsAcceptor, TlsConnector};
use rpc::{Client, ClientConfig, Server, Tx, View};
use rpc_tests::certificates::Authority;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};

use super::BANK;
use super::wire::Wire;

#[derive(Clone, Serialize, Deserialize, rpc::Schema)]
struct Title(String);

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Default, Serialize, Deserialize, rpc::Document)]
#[document(key = Title, collection = "note")]
struct Note {
    by: Vec<String>,
}

#[rpc::service]
trait Notes {
    /// Adds the caller, and says who that is.
    async fn sign(&self, tx: &mut Tx, #[anchor] note: Title) -> String;
    async fn reader(&self, view: &View) -> String;
}

/// Lets the first run of each call wait before it ends, as long as there are no permits.
struct Desk {
    reached: Notify,
    passes: Semaphore,
}

impl Notes for Arc<Desk> {
    async fn sign(&self, tx: &mut Tx, note: Title) -> String {
        let mut signed = tx.get(&note).await.unwrap_or_default();
        self.reached.notify_one();
        let _passed = self.passes.acquire().await.unwrap();
        let caller = tx.caller().name().to_owned();
        signed.by.push(caller.clone());
        tx.put(&note, &signed);
        caller
    }

    async fn reader(&self, view: &View) -> String {
        view.caller().name().to_owned()
    }
}

fn note() -> Title {
    Title("note".to_owned())
}

struct Office {
    desk: Arc<Desk>,
    network: InProcess,
    authority: Authority,
}

impl Office {
    fn open() -> Office {
        let desk = Arc::new(Desk { reached: Notify::new(), passes: Semaphore::new(0) });
        let (network, authority) = (InProcess::new(), Authority::new("ours"));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let acceptor = TlsAcceptor::new(network.listen(BANK), authority.end(BANK));
        let server = Server::builder(NotesServer::new(Arc::clone(&desk)), store);
        tokio::spawn(server.listen_on(acceptor).serve());
        Office { desk, network, authority }
    }

    async fn client(&self, name: &str) -> (NotesClient, Wire) {
        let wire = Wire::new(&self.network);
        let config = ClientConfig::default().seed(Some(7)).deadline(Duration::from_secs(60));
        let connector = TlsConnector::new(wire.clone(), self.authority.end(name));
        let client = Client::builder().config(config).connector(connector).connect([BANK]).await;
        (client.unwrap(), wire)
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_has_its_own_caller() {
    let office = Office::open();
    let (alice, _) = office.client("alice").await;
    let (bob, _) = office.client("bob").await;
    assert_eq!(alice.reader().await.unwrap(), "alice");
    // Both have read the note before either is done: the second meets a conflict, and runs again.
    let [one, two] = [&alice, &bob].map(|client| {
        let client = client.clone();
        tokio::spawn(async move { client.sign(note()).await.unwrap() })
    });
    office.desk.reached.notified().await;
    office.desk.reached.notified().await;
    office.desk.passes.add_permits(8);
    assert_eq!((one.await.unwrap(), two.await.unwrap()), ("alice".to_owned(), "bob".to_owned()));
    for client in [&alice, &bob] {
        client.sign(Title("other".to_owned())).await.unwrap();
        client.sign(Title("other".to_owned())).await.unwrap();
    }
    assert_eq!(bob.reader().await.unwrap(), "bob");
    assert_eq!(alice.reader().await.unwrap(), "alice");
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_the_same_caller() {
    let office = Office::open();
    let (alice, wire) = office.client("alice").await;
    let caller = alice.clone();
    let call = tokio::spawn(async move { caller.sign(note()).await.unwrap() });
    office.desk.reached.notified().await;
    wire.cut();
    office.desk.passes.add_permits(8);
    assert_eq!(call.await.unwrap(), "alice");
    assert_eq!(wire.made(), 2);
    assert_eq!(alice.sign(note()).await.unwrap(), "alice");
}

#[tokio::test]
async fn nobody_is_known_on_plain_tcp() {
    let desk = Arc::new(Desk { reached: Notify::new(), passes: Semaphore::new(8) });
    let server = Server::builder(NotesServer::new(desk), Arc::new(MemoryStore::new()));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let address = server.address();
    tokio::spawn(server.serve());
    let client: NotesClient = Client::builder().connector(Tcp).connect([address]).await.unwrap();
    assert_eq!(client.reader().await.unwrap(), "");
    assert_eq!(client.sign(note()).await.unwrap(), "");
}
