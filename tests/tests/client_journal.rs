//! A client whose process is gone from one moment to the next, with its journal in a file: over TCP,
//! with the clocks and threads of a real machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rpc::client::Stub as _;
use rpc::journal::{FileJournal, JournalError};
use rpc::store::{MemoryStore, Store};
use rpc::{Client, ConnectError};
use rpc_tests::world::{Account, Gates, LedgerClient, LedgerOn, LedgerServer, Point};
use tokio::runtime::Runtime;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("rpc-tests-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn serve(gates: &Arc<Gates>) -> String {
    let ledger = LedgerServer::new(LedgerOn::new("A", gates));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let server = rpc::Server::builder(ledger, store).bind("127.0.0.1:0").await.unwrap();
    let address = server.address();
    tokio::spawn(server.serve());
    address
}

async fn connect(file: &PathBuf, address: &str) -> LedgerClient {
    // The runtime that is gone may hold the file for a moment yet: its threads end on their own.
    let journal = loop {
        match FileJournal::open(file) {
            Err(JournalError::InUse { .. }) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    Client::builder().journal(journal).connect([address]).await.unwrap()
}

#[test]
fn the_next_process_goes_on_with_the_calls_of_the_last() {
    let scratch = Scratch::new("client-journal");
    let file = scratch.0.join("client.journal");
    let gates = Arc::new(Gates::default());
    let servers = Runtime::new().unwrap();
    let address = servers.block_on(serve(&gates));
    let gate = gates.close("A", "rent", Point::End);

    let first_life = Runtime::new().unwrap();
    let pay = |bank: &LedgerClient| {
        bank.deposit(Account::from("alice"), 10, "rent".to_owned()).named("rent")
    };
    let client_and_call = first_life.block_on(async {
        let bank = connect(&file, &address).await;
        bank.deposit(Account::from("alice"), 5, "before".to_owned()).await.unwrap();
        let mut call = Box::pin(pay(&bank));
        tokio::select! {
            ended = &mut call => panic!("it is held back: {ended:?}"),
            () = gate.reached() => (bank, call),
        }
    });
    // The connection goes first: a process that is gone has no time to give its calls up.
    first_life.shutdown_timeout(Duration::from_secs(60));
    drop(client_and_call);

    servers.block_on(async {
        let bank = connect(&file, &address).await;
        let open = bank.client().journalled();
        assert_eq!(open.last().and_then(|call| call.name.as_deref()), Some("rent"), "{open:?}");
        gate.open();
        assert_eq!(pay(&bank).await.unwrap(), 15, "once, whichever life's run it was");
        bank.client().clone().shutdown(Duration::from_secs(10)).await;

        // A client that was shut down has let go of its file, and its outcomes are in it.
        let journal = FileJournal::open(&file).unwrap();
        let bank: LedgerClient =
            Client::builder().journal(journal).connect([&address]).await.unwrap();
        assert_eq!(pay(&bank).await.unwrap(), 15);
        let balance = bank.balance(Account::from("alice"), "look".to_owned());
        assert_eq!(balance.await.unwrap(), 15);
    });
}

#[tokio::test]
async fn a_client_that_finds_no_server_gives_its_journal_back() {
    let scratch = Scratch::new("client-journal-unreachable");
    let file = scratch.0.join("client.journal");
    for _ in 0..2 {
        let journal = FileJournal::open(&file).unwrap();
        let connected = Client::builder()
            .journal(journal)
            .connect_limit(Duration::from_millis(50))
            .connect::<LedgerClient>(["127.0.0.1:1"])
            .await;
        assert!(matches!(connected, Err(ConnectError::Unreachable { .. })), "{connected:?}");
    }
}
