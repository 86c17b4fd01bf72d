//! This system as a contender.

use std::error::Error;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rpc::store::{EmbeddedConfig, MemoryStore, Store};
use rpc::transport::{BusyPolledAcceptor, BusyPolledTcp, Listener, TcpAcceptor};
use rpc::{Call, Client, Server, Tx};
use serde::{Deserialize, Serialize};

use crate::durable::grown;
use crate::work::NAME;

/// An account's name.
#[derive(Clone, Debug, Serialize, Deserialize, rpc::Schema)]
pub(crate) struct Name(pub(crate) String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An account.
#[derive(Serialize, Deserialize, rpc::Document)]
#[document(key = Name, collection = "account")]
pub(crate) struct Account {
    pub(crate) balance: u64,
}

/// The answer to a transfer.
#[derive(Debug, Serialize, Deserialize, rpc::Schema)]
pub(crate) struct Receipt {
    pub(crate) id: u64,
    pub(crate) balance: u64,
}

/// The work as a service.
#[rpc::service]
pub(crate) trait Work {
    /// Answers at once.
    async fn plain(&self, from: String, to: String, amount: u64) -> Receipt;

    /// The same, with arguments that are only looked at.
    async fn plain_lent(&self, from: &str, to: &str, amount: u64) -> Receipt;

    /// Adds to an account, exactly once.
    async fn write(&self, tx: &mut Tx, #[anchor] from: Name, to: String, amount: u64) -> Receipt;
}

/// Does the work.
pub(crate) struct Worker;

impl Work for Worker {
    async fn plain(&self, _from: String, _to: String, amount: u64) -> Receipt {
        Receipt { id: 7, balance: amount }
    }

    async fn plain_lent(&self, _from: &str, _to: &str, amount: u64) -> Receipt {
        Receipt { id: 7, balance: amount }
    }

    async fn write(&self, tx: &mut Tx, from: Name, _to: String, amount: u64) -> Receipt {
        Receipt { id: 7, balance: add(tx, &from, amount).await.balance }
    }
}

/// Adds to an account, which is made if it is not there.
pub(crate) async fn add(tx: &mut Tx, name: &Name, amount: u64) -> Account {
    let mut account = tx.get(name).await.unwrap_or(Account { balance: 0 });
    account.balance += amount;
    tx.put(name, &account);
    account
}

/// Serves on the memory store.
pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    serve_over(Arc::new(MemoryStore::new()), listen().await?).await
}

/// Serves on the embedded store.
pub(crate) async fn serve_durable() -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    let store = Arc::new(grown::open(data.path(), EmbeddedConfig::default()).await?);
    serve_over(store, listen().await?).await
}

/// Serves on the memory store, and asks its sockets before it sleeps.
pub(crate) async fn serve_busy_polled() -> Result<(), Box<dyn Error>> {
    let acceptor = BusyPolledAcceptor::new(listen().await?, ASKS_FOR);
    serve_over(Arc::new(MemoryStore::new()), acceptor).await
}

pub(super) async fn listen() -> std::io::Result<TcpAcceptor> {
    TcpAcceptor::bind("127.0.0.1:0").await
}

pub(super) async fn serve_over(
    store: Arc<dyn Store>,
    listener: impl Listener,
) -> Result<(), Box<dyn Error>> {
    let server = Server::builder(WorkServer::new(Worker), store).listen_on(listener);
    println!("{}", server.address());
    server.serve().await;
    Ok(())
}

pub(crate) async fn connect(address: &str) -> Result<WorkClient, Box<dyn Error>> {
    Ok(Client::builder().connect([address]).await?)
}

/// A client with a journal, in a directory that lasts as long as the process is measured.
pub(crate) async fn connect_journalled(
    address: &str,
) -> Result<(WorkClient, tempfile::TempDir), Box<dyn Error>> {
    let place = tempfile::tempdir()?;
    let journal = rpc::journal::FileJournal::open(place.path().join("journal"))?;
    Ok((Client::builder().journal(journal).connect([address]).await?, place))
}

/// Longer than the other end takes when it is awake.
const ASKS_FOR: Duration = Duration::from_micros(50);

pub(crate) async fn connect_busy_polled(address: &str) -> Result<WorkClient, Box<dyn Error>> {
    let connector = BusyPolledTcp::new(ASKS_FOR);
    Ok(Client::builder().connector(connector).connect([address]).await?)
}

pub(crate) async fn plain(client: &WorkClient) {
    client.plain(NAME.to_owned(), NAME.to_owned(), 100).await.expect("the server answers");
}

pub(crate) async fn plain_lent(client: &WorkClient) {
    client.plain_lent(NAME, NAME, 100).await.expect("the server answers");
}

pub(crate) async fn write(client: &WorkClient, caller: usize) {
    write_to(client, name_of(caller)).await;
}

pub(crate) async fn write_to(client: &WorkClient, account: String) {
    client.write(Name(account), NAME.to_owned(), 100).await.expect("the server answers");
}

/// A write, before its options are set.
pub(crate) fn transfer(
    client: &WorkClient,
    account: u64,
) -> Call<(Name, String, u64), Receipt, rpc::service::NoError> {
    client.write(Name(account_name(account)), NAME.to_owned(), 100)
}

/// The name of a caller's account, made beforehand: the callers of other contenders make none either.
pub(crate) fn name_of(caller: usize) -> String {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| (0..1024).map(account_name).collect());
    NAMES.get(caller).cloned().unwrap_or_else(|| account_name(caller as u64))
}

/// The name of an account, 16 bytes long. Not by `format!`, which would cost as much as half a call.
pub(crate) fn account_name(number: u64) -> String {
    let mut name = [b'0'; 16];
    let mut rest = number;
    for digit in name.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&name).into_owned()
}
