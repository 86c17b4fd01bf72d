//! What a session leaves in a store with compare-and-swap is bounded: a client moves to a new one
//! before its calls without an anchor have left more documents than one session may.

use std::collections::BTreeMap;
use std::sync::Arc;

use rpc::client::Stub as _;
use rpc::id::{CallId, ClientId, Seq};
use rpc::store::cas::CasStore;
use rpc::time::WallTime;
use rpc::transport::InProcess;
use rpc::{Client, ClientConfig, Server, Tx};
use rpc_tests::simulated::SimulatedBackend;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, rpc::Schema)]
struct Name(String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Default, Serialize, Deserialize, rpc::Document)]
#[document(key = Name, collection = "tally")]
struct Tally(Vec<u64>);

/// A write whose arguments name no anchor.
#[rpc::service]
trait Counter {
    async fn count(&self, tx: &mut Tx, number: u64) -> u64;
}

struct OnePlace;

impl Counter for OnePlace {
    async fn count(&self, tx: &mut Tx, number: u64) -> u64 {
        let place = Name("all".to_owned());
        let Tally(mut numbers) = tx.get(&place).await.unwrap_or_default();
        numbers.push(number);
        tx.put(&place, &Tally(numbers.clone()));
        numbers.len() as u64
    }
}

const LIMIT: u64 = 10;
const CALLS: u64 = 100;
/// More sessions than the calls can take.
const MOST_CLIENTS: u64 = 200;

/// How many calls of each session have a document of their own.
fn documents_by_session(documents: &SimulatedBackend) -> BTreeMap<u64, u64> {
    let mut by_session = BTreeMap::new();
    for client in 1..MOST_CLIENTS {
        for seq in 1..=CALLS {
            let id = CallId { client: ClientId(client), seq: Seq(seq) };
            if documents.peek(&format!("rpc_call:{id}")).is_some() {
                *by_session.entry(client).or_default() += 1;
            }
        }
    }
    by_session
}

#[tokio::test(start_paused = true)]
async fn no_session_leaves_more_documents_than_its_limit() {
    let documents = SimulatedBackend::new();
    let network = InProcess::new();
    for (number, address) in ["one", "two"].into_iter().enumerate() {
        let seed = number as u64 + 1;
        let store = Arc::new(CasStore::with_seed(documents.clone(), seed, || WallTime(0)));
        let server =
            Server::builder(CounterServer::new(OnePlace), store).listen_on(network.listen(address));
        tokio::spawn(server.serve());
    }
    let config = ClientConfig::default().max_session_writes(LIMIT).seed(Some(1));
    let counter: CounterClient =
        Client::builder().config(config).connector(network).connect(["one", "two"]).await.unwrap();
    let calls: Vec<_> = (0..CALLS).map(|number| tokio::spawn(counter.count(number))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }

    let tally = documents.peek("tally:all").expect("it was counted");
    let Tally(mut numbers) = serde_json::from_slice(&tally.body).unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..CALLS).collect::<Vec<_>>(), "each call once");
    let by_session = documents_by_session(&documents);
    assert_eq!(by_session.values().sum::<u64>(), CALLS, "each has a document: {by_session:?}");
    assert!(by_session.values().all(|count| *count <= LIMIT), "{by_session:?}");
    assert_eq!(by_session.len() as u64, counter.client().stats().sessions);
}
