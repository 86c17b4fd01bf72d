//! Results of every length, made together: each call gets its own, whole.

use std::sync::Arc;

use rpc::store::{EmbeddedConfig, EmbeddedStore, MemoryStore, Store};
use rpc::transport::InProcess;
use rpc::{Client, Server, Tx, View};

/// Around those at which a result is kept elsewhere, or handed on in another way.
const LENGTHS: [usize; 16] = [0, 1, 3, 4, 7, 8, 15, 16, 21, 22, 23, 24, 100, 4_094, 4_096, 100_000];

#[rpc::service]
trait Repeater {
    async fn plain(&self, length: usize) -> String;
    async fn read(&self, view: &View, length: usize) -> String;
    async fn write(&self, tx: &mut Tx, length: usize) -> String;
}

struct Parrot;

fn said(length: usize) -> String {
    let letter = char::from(b'a' + (length % 26) as u8);
    letter.to_string().repeat(length)
}

impl Repeater for Parrot {
    async fn plain(&self, length: usize) -> String {
        said(length)
    }

    async fn read(&self, _view: &View, length: usize) -> String {
        said(length)
    }

    async fn write(&self, tx: &mut Tx, length: usize) -> String {
        let key = Count(length);
        let mut said_before = tx.get(&key).await.unwrap_or(Counted { times: 0 });
        said_before.times += 1;
        tx.put(&key, &said_before);
        assert_eq!(said_before.times, 1, "each length is asked for once");
        said(length)
    }
}

#[derive(Clone, Debug)]
struct Count(usize);

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]
#[document(key = Count, collection = "counted")]
struct Counted {
    times: u64,
}

async fn come_back_whole(store: Arc<dyn Store>) {
    let network = InProcess::new();
    let server = Server::builder(RepeaterServer::new(Parrot), store);
    tokio::spawn(server.listen_on(network.listen("parrot")).serve());
    let client = Client::builder().connector(network);
    let client: RepeaterClient = client.connect(["parrot"]).await.unwrap();
    let plain = LENGTHS.map(|length| tokio::spawn(client.plain(length)));
    let read = LENGTHS.map(|length| tokio::spawn(client.read(length)));
    let write = LENGTHS.map(|length| tokio::spawn(client.write(length)));
    let asked = [LENGTHS, LENGTHS, LENGTHS].concat();
    for (length, call) in asked.into_iter().zip(plain.into_iter().chain(read).chain(write)) {
        assert_eq!(call.await.unwrap().unwrap(), said(length), "{length} bytes");
    }
}

#[tokio::test]
async fn results_of_all_lengths_come_back_whole_from_memory() {
    come_back_whole(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn results_of_all_lengths_come_back_whole_from_the_embedded_store() {
    let data = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(data.path(), EmbeddedConfig::default()).unwrap();
    come_back_whole(Arc::new(store)).await;
}
