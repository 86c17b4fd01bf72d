//! Calls over TLS on wires that fail below it.

use std::collections::BTreeMap;
use std::time::Duration;

use rpc::transport::{InProcess, TlsConnector};
use rpc::{Client, ClientConfig, DocumentKey as _};
use rpc_tests::certificates::Authority;
use rpc_tests::world::{Account, Book, LedgerClient};

use super::wire::{Trouble, Wire};
use super::{BANK, Bank};

/// How many callers there are at once, two to an account, and how many calls each of them makes in turn.
const CALLERS: usize = 6;
const CALLS_EACH: usize = 10;
const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];

async fn client(wire: &Wire, authority: &Authority) -> LedgerClient {
    let config = ClientConfig::default().seed(Some(7)).deadline(Duration::from_secs(600));
    Client::builder()
        .config(config)
        .connector(TlsConnector::new(wire.clone(), authority.end("teller")))
        .connect([BANK])
        .await
        .unwrap()
}

/// What lies in the store for each account.
async fn books(bank: &Bank) -> BTreeMap<String, Book> {
    use rpc::store::Store as _;
    let mut books = BTreeMap::new();
    for name in ACCOUNTS {
        let key = Account::from(name).doc_key().unwrap();
        let body = bank.store.read(&key).await.unwrap().body;
        let book = body.map_or_else(Book::default, |body| serde_json::from_slice(&body).unwrap());
        books.insert(name.to_owned(), book);
    }
    books
}

/// Each seed cuts connections in the middle of records and changes bits: TLS notices what plain TCP would
/// not, the connection ends, and the call is made again on the next.
#[tokio::test(start_paused = true)]
async fn cut_and_garbled_connections() {
    let (mut made, mut retries) = (0, 0);
    for seed in 0..8 {
        let (network, authority) = (InProcess::new(), Authority::new("ours"));
        let bank = Bank::open(network.listen(BANK), authority.end(BANK));
        let wire = Wire::new(&network);
        let client = client(&wire, &authority).await;
        wire.trouble(Some(Trouble { seed, cut_one_of: 12, garble_one_of: 12 }));
        wire.cut();
        let callers = (0..CALLERS).map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..CALLS_EACH {
                    let reference = format!("{caller}, {number}");
                    client.deposit(ACCOUNTS[caller % 3].into(), 1, reference).await.unwrap();
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        for (name, book) in books(&bank).await {
            let mut references = book.references.clone();
            references.sort_unstable();
            references.dedup();
            let calls = 2 * CALLS_EACH;
            assert_eq!(references.len(), calls, "seed {seed}: {name} has one of each: {book:?}");
            assert_eq!(book.references.len(), calls, "seed {seed}: and none twice: {book:?}");
            assert_eq!(book.balance, calls as u64, "seed {seed}");
        }
        made += wire.made();
        retries += bank.handle.stats().retries;
    }
    assert!(made > 60 && retries > 100, "there was trouble: {made} connections, {retries} retries");
}

/// A wire that takes a few bytes at a time: what TLS could not pass on at once must follow without anybody
/// writing more.
#[tokio::test(start_paused = true)]
async fn a_narrow_wire() {
    let (network, authority) = (InProcess::new(), Authority::new("ours"));
    let _bank = Bank::open(network.listen(BANK), authority.end(BANK));
    let wire = Wire::new(&network).narrow(16);
    let client = client(&wire, &authority).await;
    let large = "x".repeat(300_000);
    assert_eq!(client.echo(large.clone()).await.unwrap(), large);
    assert_eq!(client.deposit("alice".into(), 1, "one".into()).await.unwrap(), 1);
    assert_eq!(wire.made(), 1, "one connection was enough");
}
