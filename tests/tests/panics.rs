//! Panics outside the business: in what the user wrote for its types, and in a connection's task. Each
//! ends one call, or one connection, and nothing happens twice or is lost.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::error::RefusalReason;
use rpc::store::cas::CasStore;
use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore};
use rpc::store::{MemoryStore, Store};
use rpc::time::WallTime;
use rpc::transport::{
    Accepted, Authenticated, InProcess, InProcessListener, Io, Listener, TransportFuture,
};
use rpc::{CallError, ClientConfig, NotExecuted, Server, ServerHandle, Tx};
use rpc_tests::disk::Disk;
use rpc_tests::simulated::SimulatedBackend;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};
use tokio::task::JoinSet;

/// Fails a test that hangs.
const HANGS: Duration = Duration::from_secs(60);

/// The name of a counter. Some cannot be decoded, some cannot be displayed.
#[derive(Clone, Debug, Serialize, rpc::Schema)]
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let name = String::deserialize(deserializer)?;
        assert_ne!(name, "undecodable");
        Ok(Name(name))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        assert_ne!(self.0, "nameless");
        f.write_str(&self.0)
    }
}

/// A count. One that is unlucky cannot be encoded.
#[derive(Debug, PartialEq, Deserialize, rpc::Schema)]
struct Count(u64);

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, UNLUCKY);
        serializer.serialize_newtype_struct("Count", &self.0)
    }
}

const UNLUCKY: u64 = 13;
/// One of these panics when it is dropped, once that is due.
const FRAGILE: u64 = 17;

static IS_DUE: AtomicBool = AtomicBool::new(false);

impl Drop for Count {
    fn drop(&mut self) {
        assert!(!(self.0 == FRAGILE && IS_DUE.swap(false, Ordering::SeqCst)), "it breaks");
    }
}

#[derive(Serialize, Deserialize, rpc::Document)]
#[document(key = Name, collection = "counter")]
struct Counter {
    value: u64,
}

/// Counts.
#[rpc::service]
trait Counting {
    async fn add(&self, tx: &mut Tx, #[anchor] name: Name, count: u64) -> Count;
    async fn read(&self, view: &rpc::View, name: Name) -> Count;
    async fn echo(&self, name: Name, count: u64) -> Count;
}

struct Counters;

impl Counting for Counters {
    async fn add(&self, tx: &mut Tx, name: Name, count: u64) -> Count {
        name.wait().await;
        let value = tx.get(&name).await.map_or(0, |counter: Counter| counter.value) + count;
        tx.put(&name, &Counter { value });
        Count(value)
    }

    async fn read(&self, view: &rpc::View, name: Name) -> Count {
        Count(view.get(&name).await.map_or(0, |counter: Counter| counter.value))
    }

    async fn echo(&self, name: Name, count: u64) -> Count {
        name.wait().await;
        Count(count)
    }
}

impl Name {
    /// Whatever is done under some names must wait, and so goes on in a task of its own.
    async fn wait(&self) {
        if self.0 == "slow" {
            tokio::task::yield_now().await;
        }
    }
}

fn name(text: &str) -> Name {
    Name(text.to_owned())
}

/// A listener of connections of which the next to read panics, once it is told.
struct Breaking {
    listener: InProcessListener,
    told: Arc<AtomicBool>,
}

struct BreakingReader {
    io: ReadHalf<Box<dyn Io>>,
    told: Arc<AtomicBool>,
}

impl Listener for Breaking {
    fn accept(&mut self) -> TransportFuture<'_, Accepted> {
        Box::pin(async {
            let accepted = self.listener.accept().await?;
            let peer = accepted.peer().to_owned();
            let Authenticated { io, identity } = accepted.authenticate().await?;
            let (io, writer) = tokio::io::split(io);
            let reader = BreakingReader { io, told: Arc::clone(&self.told) };
            Ok(Accepted::open(Box::new(tokio::io::join(reader, writer)), identity, peer))
        })
    }

    fn address(&self) -> String {
        self.listener.address()
    }
}

impl AsyncRead for BreakingReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        let has_read = polled.is_ready() && buffer.filled().len() > before;
        assert!(!(has_read && self.told.swap(false, Ordering::SeqCst)), "the connection breaks");
        polled
    }
}

struct Pair {
    server: ServerHandle<CountingServer<Counters>>,
    client: CountingClient,
    told: Arc<AtomicBool>,
}

impl Pair {
    async fn on(store: Arc<dyn Store>) -> Pair {
        let network = InProcess::new();
        let told = Arc::new(AtomicBool::new(false));
        let listener = Breaking { listener: network.listen("server"), told: Arc::clone(&told) };
        let server = Server::builder(CountingServer::new(Counters), store).listen_on(listener);
        let handle = server.handle();
        tokio::spawn(server.serve());
        let config = ClientConfig::default().deadline(HANGS / 2);
        let client = rpc::Client::builder().config(config).connector(network);
        let client = client.connect(["server"]).await.expect("the server is there");
        Pair { server: handle, client, told }
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

fn refused_as<T: std::fmt::Debug, E: std::fmt::Debug>(
    ended: Result<T, CallError<E>>,
) -> RefusalReason {
    match ended {
        Err(CallError::NotExecuted(NotExecuted::Refused { reason, .. })) => reason,
        other => panic!("it was refused, not {other:?}"),
    }
}

/// One that has no use for anchors, and one that asks for the anchor before a call is run.
fn stores() -> [Arc<dyn Store>; 2] {
    let cas = CasStore::with_seed(SimulatedBackend::default(), 1, || WallTime(0));
    [Arc::new(MemoryStore::new()), Arc::new(cas)]
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_an_arguments_type_refuses_its_call_alone() {
    for store in stores() {
        let pair = Pair::on(store).await;
        let client = &pair.client;
        // Together, so that they come in one read.
        let (first, undecodable, second, nameless, read, third, empty) = tokio::join!(
            client.add(name("a"), 1),
            client.add(name("undecodable"), 1),
            client.add(name("a"), 1),
            client.add(name("nameless"), 1),
            client.read(name("undecodable")),
            client.echo(name("a"), 7),
            client.add(name(""), 1),
        );
        let mut counts = [first.unwrap(), second.unwrap()].map(|count| count.0);
        counts.sort_unstable();
        assert_eq!((counts, third.unwrap()), ([1, 2], Count(7)));
        assert_eq!(refused_as(undecodable), RefusalReason::Failed);
        assert_eq!(refused_as(nameless), RefusalReason::Failed);
        assert_eq!(refused_as(read), RefusalReason::Failed);
        assert_eq!(refused_as(empty), RefusalReason::BadArguments, "no name, and no panic");
        let stats = pair.server.stats();
        assert_eq!((stats.connections, stats.retries), (1, 0), "the connection goes on");
        assert_eq!(pair.server.held().running, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_results_type_ends_its_call_without_effect() {
    let pair = Pair::on(Arc::new(MemoryStore::new())).await;
    let client = &pair.client;
    for place in ["a", "slow"] {
        let (unlucky, echo, other) = tokio::join!(
            client.add(name(place), UNLUCKY).deadline(Duration::from_secs(5)),
            client.echo(name(place), UNLUCKY),
            client.add(name(&format!("beside {place}")), 1),
        );
        assert_eq!(other.unwrap(), Count(1));
        assert_eq!(refused_as(echo), RefusalReason::Failed, "{place}");
        match unlucky {
            Err(CallError::NotExecuted(NotExecuted::Aborted(_))) => {}
            other => panic!("that nothing was written is recorded, not {other:?}"),
        }
        assert_eq!(client.add(name(place), 2).await.unwrap(), Count(2), "it took no effect");
    }
    assert_eq!(pair.server.stats().connections, 1);
    assert_eq!(pair.server.held().running, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_the_end_of_a_run_does_not_tell_whether_it_was_committed_and_a_retry_does() {
    let pair = Pair::on(Arc::new(MemoryStore::new())).await;
    IS_DUE.store(true, Ordering::SeqCst);
    assert_eq!(pair.client.add(name("a"), FRAGILE).await.unwrap(), Count(FRAGILE));
    assert!(!IS_DUE.load(Ordering::SeqCst), "the server's has panicked");
    assert_eq!(pair.client.add(name("a"), 1).await.unwrap(), Count(FRAGILE + 1), "done once");
    assert_eq!(pair.server.stats().connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_connection_that_panics_while_they_become_durable_are_done_once() {
    let disk = Disk::default();
    let store = EmbeddedStore::open_on(disk.tree(), disk.log(), EmbeddedConfig::default());
    let pair = Pair::on(Arc::new(store.expect("the store opens"))).await;
    let held = disk.hold_syncs();
    let mut adding = JoinSet::new();
    for call in 0..20 {
        let client = pair.client.clone();
        adding.spawn(async move { client.add(name(&format!("counter-{call}")), 1).await });
    }
    pair.until(|pair| pair.server.stats().requests >= 20).await;
    disk.wait_for_held_sync();
    pair.told.store(true, Ordering::SeqCst);
    let client = pair.client.clone();
    let echo = tokio::spawn(async move { client.echo(name("a"), 7).await });
    pair.until(|pair| pair.server.stats().connections >= 2).await;
    drop(held);
    let ended = tokio::time::timeout(HANGS, adding.join_all()).await.expect("every call ends");
    for ended in ended {
        assert_eq!(ended.expect("the store has the result"), Count(1), "each was done once");
    }
    assert_eq!(echo.await.unwrap().unwrap(), Count(7));
    pair.until(|pair| pair.server.held().running == 0).await;
}
