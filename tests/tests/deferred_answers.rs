//! Answers that the embedded store has and is making durable: nothing that happens meanwhile loses
//! them, shows them too early, or makes them happen twice.
//!
//! The disk holds its syncs back until the test lets go of them, so no test waits for a time.

use std::sync::Arc;
use std::time::Duration;

use rpc::service::NoError;
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use rpc::{CallError, ClientConfig, Server, ServerHandle, Tx};
use rpc_tests::disk::{Disk, Fault};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Fails a test that hangs.
const HANGS: Duration = Duration::from_secs(60);
/// Longer than any time-out before which a client asks again.
const LONG: Duration = Duration::from_secs(50);

/// The name of a counter.
#[derive(Clone, Debug, Serialize, Deserialize, rpc::Schema)]
struct Name(String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Serialize, Deserialize, rpc::Document)]
#[document(key = Name, collection = "counter")]
struct Counter {
    value: u64,
}

/// Counts.
#[rpc::service]
trait Count {
    async fn add(&self, tx: &mut Tx, #[anchor] name: Name) -> u64;
    async fn read(&self, view: &rpc::View, name: Name) -> u64;
}

struct Counting;

impl Count for Counting {
    async fn add(&self, tx: &mut Tx, name: Name) -> u64 {
        let value = tx.get(&name).await.map_or(0, |counter: Counter| counter.value) + 1;
        tx.put(&name, &Counter { value });
        value
    }

    async fn read(&self, view: &rpc::View, name: Name) -> u64 {
        view.get(&name).await.map_or(0, |counter: Counter| counter.value)
    }
}

/// A server on a disk, and a client whose connections can be cut.
struct Pair {
    disk: Disk,
    server: ServerHandle<CountServer<Counting>>,
    serving: tokio::task::JoinHandle<()>,
    shut_down: tokio::sync::oneshot::Sender<()>,
    client: CountClient,
    cut: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Pair {
    async fn new() -> Pair {
        Pair::with(EmbeddedConfig::default(), ClientConfig::default()).await
    }

    async fn with(config: EmbeddedConfig, client: ClientConfig) -> Pair {
        let disk = Disk::default();
        let store = EmbeddedStore::open_on(disk.tree(), disk.log(), config);
        let store = Arc::new(store.expect("the store opens"));
        let server = Server::builder(CountServer::new(Counting), store);
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let (address, handle) = (server.local_addr(), server.handle());
        let (shut_down, told) = tokio::sync::oneshot::channel();
        let shutdown = async {
            let _ = told.await;
        };
        let serving = tokio::spawn(server.serve_with_shutdown(shutdown));
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relayed = relay.local_addr().unwrap().to_string();
        let (cut, cuts) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(relay_all(relay, address, cuts));
        let client = rpc::Client::builder().config(client.deadline(LONG));
        let client = client.connect([relayed]).await.unwrap();
        Pair { disk, server: handle, serving, shut_down, client, cut }
    }

    /// Starts so many calls, and waits until the store has them all.
    async fn start_adding(&self, calls: u64) -> JoinSet<Result<u64, CallError<NoError>>> {
        let before = self.server.stats().requests;
        let mut adding = JoinSet::new();
        for call in 0..calls {
            let client = self.client.clone();
            adding.spawn(async move { client.add(name(call)).await });
        }
        self.until(|pair| pair.server.stats().requests == before + calls).await;
        adding
    }

    async fn until(&self, holds: impl Fn(&Pair) -> bool) {
        let held = async {
            while !holds(self) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANGS, held).await.expect("it comes to hold");
    }
}

/// Copies bytes both ways until it is told to cut all connections.
async fn relay_all(
    listener: TcpListener,
    to: std::net::SocketAddr,
    mut cuts: tokio::sync::mpsc::UnboundedReceiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((mut from, _)) = listener.accept() => {
                connections.spawn(async move {
                    let mut to = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                });
            }
            Some(()) = cuts.recv() => connections.shutdown().await,
            else => return,
        }
    }
}

fn name(call: u64) -> Name {
    Name(format!("counter-{call}"))
}

async fn all<T: 'static>(calls: JoinSet<T>) -> Vec<T> {
    tokio::time::timeout(HANGS, calls.join_all()).await.expect("every call ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_durable_after_its_connection_is_gone_is_answered_on_the_next() {
    let pair = Pair::new().await;
    let held = pair.disk.hold_syncs();
    let adding = pair.start_adding(20).await;
    pair.disk.wait_for_held_sync();
    let connections = pair.server.stats().connections;
    pair.cut.send(()).unwrap();
    pair.until(|pair| pair.server.stats().connections > connections).await;
    // The new one resumes the session, for which it waits for the same disk.
    assert_eq!(pair.server.stats().committed, 0, "nothing is durable yet");
    drop(held);
    for ended in all(adding).await {
        assert_eq!(ended.expect("the server has the answer"), 1, "each was done once");
    }
    assert_eq!(pair.server.stats().committed, 20);
    assert_eq!(pair.server.stats().replayed_from_record, 0, "the table knew of all of them");
}

/// It is durable when it is first waited for, and nobody will tell its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_durable_at_once_is_answered_at_once() {
    // Who is not answered does not ask again, nor for a sign of life, but hangs until the deadline.
    let patient = ClientConfig::default().min_timeout(2 * HANGS).max_timeout(2 * HANGS);
    let patient = patient.keepalive(2 * HANGS);
    let pair = Pair::with(EmbeddedConfig::default().sync_where_called(true), patient).await;
    for value in 1..=20 {
        let adding = tokio::time::timeout(LONG / 2, pair.client.add(name(0))).await;
        assert_eq!(adding.expect("it is answered").expect("the disk works"), value);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_given_up_while_it_becomes_durable_is_neither_aborted_nor_lost() {
    let pair = Pair::new().await;
    let held = pair.disk.hold_syncs();
    let mut adding = pair.start_adding(20).await;
    pair.disk.wait_for_held_sync();
    adding.abort_all();
    while adding.join_next().await.is_some() {}
    drop(held);
    for call in 0..20 {
        assert_eq!(pair.client.add(name(call)).await.unwrap(), 2, "the first took effect");
    }
    assert_eq!(pair.server.stats().aborts, 0);
    assert_eq!(pair.server.held().running, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passes_while_a_call_becomes_durable_does_not_undo_it() {
    let pair = Pair::new().await;
    let held = pair.disk.hold_syncs();
    let call = pair.client.add(name(0)).deadline(Duration::from_secs(1));
    let ended = tokio::time::timeout(HANGS, call).await.expect("every call ends");
    let Err(CallError::OutcomeUnknown(unknown, _)) = ended else {
        panic!("what may become durable is unknown, not {ended:?}");
    };
    drop(held);
    assert_eq!(pair.client.read(name(0)).await.unwrap(), 1, "it took effect, {unknown:?}");
    assert_eq!(pair.client.add(name(0)).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_for_what_becomes_durable() {
    let pair = Pair::new().await;
    let held = pair.disk.hold_syncs();
    let adding = pair.start_adding(20).await;
    pair.disk.wait_for_held_sync();
    pair.shut_down.send(()).unwrap();
    tokio::task::yield_now().await;
    assert!(!pair.serving.is_finished(), "20 calls are not answered yet");
    drop(held);
    for ended in all(adding).await {
        assert_eq!(ended.expect("the server answers before it goes"), 1);
    }
    tokio::time::timeout(HANGS, pair.serving).await.expect("it ends").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_leaves_the_outcome_of_all_that_waited_for_it_unknown() {
    let pair = Pair::new().await;
    pair.client.add(name(0)).await.unwrap();
    let held = pair.disk.hold_syncs();
    let mut adding = JoinSet::new();
    let before = pair.server.stats().requests;
    for call in 1..=20 {
        let client = pair.client.clone();
        // A store that has failed stays so: nothing more is learnt until the deadline.
        let limit = Duration::from_secs(2);
        adding.spawn(async move { client.add(name(call)).deadline(limit).await });
    }
    pair.until(|pair| pair.server.stats().requests >= before + 20).await;
    pair.disk.wait_for_held_sync();
    pair.disk.plan(0, Fault::SyncFailsArrived);
    drop(held);
    let ended = all(adding).await;
    let unknown =
        ended.iter().filter(|ended| matches!(ended, Err(CallError::OutcomeUnknown(..)))).count();
    assert!(unknown >= 1, "the first of them was in the failed sync: {ended:?}");
    assert!(ended.iter().all(Result::is_err), "none is durable: {ended:?}");
    assert_eq!(pair.server.stats().committed, 1);
}
