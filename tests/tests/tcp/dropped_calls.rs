//! Real sockets: dropping a call's future frees everything that it held, on both sides.

use std::sync::Arc;
use std::time::Duration;

use rpc::store::{MemoryStore, Store};
use rpc::{ClientConfig, Tx};
use tokio::sync::mpsc;

/// Fails a test that hangs.
const HANGS: Duration = Duration::from_secs(60);

/// What a call does.
#[derive(Debug, PartialEq, Eq)]
enum Sign {
    Began,
    Ended,
}

/// Calls that never answer.
#[rpc::service]
trait Stall {
    async fn write(&self, tx: &mut Tx) -> u64;
    async fn plain(&self) -> u64;
    async fn echo(&self, tx: &mut Tx, number: u64) -> u64;
}

struct Stalling(mpsc::UnboundedSender<Sign>);

/// Tells that the business was let go of.
struct Guard(mpsc::UnboundedSender<Sign>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _test_is_over = self.0.send(Sign::Ended);
    }
}

impl Stalling {
    async fn stall(&self) -> u64 {
        let _guard = Guard(self.0.clone());
        self.0.send(Sign::Began).unwrap();
        std::future::pending().await
    }
}

impl Stall for Stalling {
    async fn write(&self, _tx: &mut Tx) -> u64 {
        self.stall().await
    }

    async fn plain(&self) -> u64 {
        self.stall().await
    }

    async fn echo(&self, _tx: &mut Tx, number: u64) -> u64 {
        number
    }
}

#[tokio::test]
async fn a_dropped_call_holds_nothing() {
    let (signs, mut seen) = mpsc::unbounded_channel();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let server = rpc::Server::builder(StallServer::new(Stalling(signs)), store);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let (address, handle) = (server.address(), server.handle());
    tokio::spawn(server.serve());
    // With room for one call, the next one waits until the place is free again.
    let config = ClientConfig::default().max_in_flight(1);
    let stall: StallClient =
        rpc::Client::builder().config(config).connect([address]).await.unwrap();
    for round in 0..10 {
        let call =
            if round % 2 == 0 { tokio::spawn(stall.write()) } else { tokio::spawn(stall.plain()) };
        let mut next = async || tokio::time::timeout(HANGS, seen.recv()).await.unwrap().unwrap();
        assert_eq!(next().await, Sign::Began);
        call.abort();
        assert_eq!(next().await, Sign::Ended, "the server lets go of it");
        assert_eq!(tokio::time::timeout(HANGS, stall.echo(round)).await.unwrap().unwrap(), round);
    }
    assert_eq!(handle.stats().aborts, 10);
}
