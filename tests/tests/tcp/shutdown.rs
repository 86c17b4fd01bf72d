//! Real sockets: graceful shutdown, and its limit.

use std::sync::Arc;
use std::time::Duration;

use rpc::ServerConfig;
use rpc::store::{MemoryStore, Store};
use rpc_tests::world::{Gates, LedgerClient, LedgerOn, LedgerServer, Point, stats};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Fails a test that hangs.
const HANGS: Duration = Duration::from_secs(60);

struct Running {
    address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(name: &str, store: &Arc<dyn Store>, gates: &Arc<Gates>, limit: Duration) -> Running {
    let server =
        rpc::Server::builder(LedgerServer::new(LedgerOn::new(name, gates)), Arc::clone(store))
            .config(ServerConfig::default().shutdown_limit(limit))
            .bind("127.0.0.1:0")
            .await
            .unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.serve_with_shutdown(async {
        let _stopped = stopped.await;
    }));
    Running { address, stop, task }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANGS, future).await.expect("it ends")
}

#[tokio::test]
async fn what_runs_is_answered_before_the_end() {
    let (store, gates): (Arc<dyn Store>, _) = (Arc::new(MemoryStore::new()), Arc::default());
    let server = start("A", &store, &gates, HANGS).await;
    let ledger: LedgerClient = rpc::Client::builder().connect([&server.address[..]]).await.unwrap();
    let gate = gates.close("A", "running", Point::End);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "running".into()));
    in_time(gate.reached()).await;
    server.stop.send(()).unwrap();
    // Nobody listens any more, and the call still runs.
    in_time(async {
        while TcpStream::connect(&server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!server.task.is_finished() && !call.is_finished());
    gate.open();
    assert_eq!(in_time(call).await.unwrap().unwrap(), 10);
    in_time(server.task).await.unwrap();
    assert_eq!(stats(&ledger).retries, 0);
}

#[tokio::test]
async fn the_limit_ends_what_does_not_end_by_itself() {
    let (store, gates): (Arc<dyn Store>, _) = (Arc::new(MemoryStore::new()), Arc::default());
    let server = start("A", &store, &gates, Duration::from_millis(100)).await;
    let other = start("B", &store, &gates, HANGS).await;
    let ledger: LedgerClient =
        rpc::Client::builder().connect([&server.address[..], &other.address]).await.unwrap();
    let gate = gates.close("A", "stuck", Point::End);
    let elsewhere = gates.close("B", "stuck", Point::End);
    let call = tokio::spawn(ledger.deposit("alice".into(), 10, "stuck".into()));
    tokio::select! {
        () = gate.reached() => {}
        () = elsewhere.reached() => {}
    }
    elsewhere.open();
    server.stop.send(()).unwrap();
    in_time(server.task).await.unwrap();
    assert_eq!(in_time(call).await.unwrap().unwrap(), 10, "another server does it");
}
