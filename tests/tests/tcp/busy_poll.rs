//! Real sockets: a client that asks its socket for answers gets the same ones as any other, whether
//! they come while it asks, later, or with others; and so does one of a server that asks for requests.

use std::sync::Arc;
use std::time::Duration;

use rpc::store::MemoryStore;
use rpc::transport::{BusyPolledAcceptor, BusyPolledTcp, TcpAcceptor};
use rpc::{Client, Server, Tx};
use tokio::sync::Notify;

#[rpc::service]
trait Desk {
    async fn double(&self, number: u64) -> u64;
    async fn keep(&self, tx: &mut Tx, number: u64) -> u64;
    /// Answers only once it is told to.
    async fn wait(&self, number: u64) -> u64;
}

struct Clerk(Arc<Notify>);

impl Desk for Clerk {
    async fn double(&self, number: u64) -> u64 {
        2 * number
    }

    async fn keep(&self, _tx: &mut Tx, number: u64) -> u64 {
        number
    }

    async fn wait(&self, number: u64) -> u64 {
        self.0.notified().await;
        number
    }
}

/// A desk whose clients ask for this long, and whose server for that long.
async fn desk(client: Duration, server: Duration) -> (DeskClient, Arc<Notify>) {
    let bell = Arc::new(Notify::new());
    let acceptor = TcpAcceptor::bind("127.0.0.1:0").await.unwrap();
    let server =
        Server::builder(DeskServer::new(Clerk(bell.clone())), Arc::new(MemoryStore::new()))
            .listen_on(BusyPolledAcceptor::new(acceptor, server));
    let address = server.address();
    tokio::spawn(server.serve());
    let connecting = Client::builder().connector(BusyPolledTcp::new(client));
    (connecting.connect([address]).await.unwrap(), bell)
}

/// However long it asks: not at all, less than an answer takes, and more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_those_of_their_calls() {
    let limits = [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(20)];
    let both = limits.into_iter().flat_map(|client| limits.map(|server| (client, server)));
    for (client, server) in both {
        let (desk, _) = desk(client, server).await;
        for number in 0..50 {
            assert_eq!(desk.double(number).await.unwrap(), 2 * number);
            assert_eq!(desk.keep(number).await.unwrap(), number);
        }
        let calls: Vec<_> = (0..200)
            .map(|number| {
                tokio::spawn({
                    let desk = desk.clone();
                    async move { desk.double(number).await }
                })
            })
            .collect();
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().unwrap(), 2 * number as u64);
        }
    }
}

/// On one thread, what answers can only run once the client has stopped asking, and the other way
/// round.
#[tokio::test]
async fn who_asks_in_vain_lets_others_go_on() {
    let (desk, bell) = desk(Duration::from_micros(100), Duration::from_micros(100)).await;
    let waiting = tokio::spawn({
        let desk = desk.clone();
        async move { desk.wait(7).await }
    });
    assert_eq!(desk.double(4).await.unwrap(), 8);
    bell.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), 7);
}
