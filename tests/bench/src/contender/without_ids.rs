//! The same write as a plain method over a durable store without ids: what it costs where nothing
//! makes a call happen exactly once.

use std::error::Error;

use rpc::store::DocKey;
use rpc::{Client, Server};

use super::ours::{Account, Name, Receipt, name_of};
use crate::durable::without_ids::{WithoutIds, Write};
use crate::work::NAME;

/// The write of the work, for a store that knows no ids.
#[rpc::service]
pub(crate) trait Unsafely {
    /// Adds to an account, once more for each time that it is sent.
    async fn write(&self, from: Name, to: String, amount: u64) -> Receipt;
}

struct Worker {
    store: WithoutIds,
}

impl Unsafely for Worker {
    async fn write(&self, from: Name, _to: String, amount: u64) -> Receipt {
        loop {
            let key = DocKey::new("account", &from).expect("a name names a document");
            let (body, read) = self.store.read(&key).expect("the store is well");
            let mut account = body.map_or(Account { balance: 0 }, |body| {
                serde_json::from_slice(&body).expect("it is an account")
            });
            account.balance += amount;
            let body = serde_json::to_vec(&account).expect("an account can be written");
            let write = Write { key, body: Some(body.into()) };
            if self.store.commit(vec![read], vec![write]).await.expect("the store is well") {
                return Receipt { id: 7, balance: account.balance };
            }
        }
    }
}

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    let worker = Worker { store: WithoutIds::open(data.path())? };
    // Nothing is recorded in the store that a server has in any case.
    let unused = std::sync::Arc::new(rpc::store::MemoryStore::new());
    let server = Server::builder(UnsafelyServer::new(worker), unused).bind("127.0.0.1:0").await?;
    println!("{}", server.address());
    server.serve().await;
    Ok(())
}

pub(crate) async fn connect(address: &str) -> Result<UnsafelyClient, Box<dyn Error>> {
    Ok(Client::builder().connect([address]).await?)
}

pub(crate) async fn write(client: &UnsafelyClient, caller: usize) {
    let account = Name(name_of(caller));
    client.write(account, NAME.to_owned(), 100).await.expect("the server answers");
}
