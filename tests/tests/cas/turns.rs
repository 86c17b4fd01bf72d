//! A call that has lost and then ends in a business error holds nobody up: its turn is free at once.

use std::sync::Arc;
use std::time::Duration;

use rpc::store::cas::CasStore;
use rpc::time::WallTime;
use rpc::transport::InProcess;
use rpc::{CallError, Client, Server};
use rpc_tests::simulated::SimulatedBackend;
use rpc_tests::world::{Gates, Insufficient, LedgerClient, LedgerOn, LedgerServer, Point};
use tokio::time::Instant;

/// Less than a turn is kept for a call that may come back, on the clock of the test, which stands
/// still while anybody works.
const AT_ONCE: Duration = Duration::from_millis(20);

async fn client(network: &InProcess, server: &str) -> LedgerClient {
    Client::builder().connector(network.clone()).connect([server]).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_holds_nobody_up() {
    let (documents, network, gates) =
        (SimulatedBackend::new(), InProcess::new(), Arc::<Gates>::default());
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        let seed = number as u64 + 1;
        let store = Arc::new(CasStore::with_seed(documents.clone(), seed, || WallTime(0)));
        let ledger = LedgerServer::new(LedgerOn::new(name, &gates));
        let server = Server::builder(ledger, store).listen_on(network.listen(name));
        tokio::spawn(server.serve());
    }
    let (one, two) = (client(&network, "one").await, client(&network, "two").await);
    two.deposit("alice".into(), 1, "first".into()).await.unwrap();

    // It has read that there is enough, and then there is not.
    let gate = gates.close("one", "late", Point::End);
    let late = tokio::spawn(one.withdraw("alice".into(), 1, "late".into()));
    gate.reached().await;
    two.withdraw("alice".into(), 1, "early".into()).await.unwrap();
    gate.open();
    let late = late.await.unwrap();
    assert!(
        matches!(late, Err(CallError::Business(Insufficient { held: 0 }))),
        "it lost, ran again, and was refused: {late:?}"
    );
    assert_eq!(gates.runs("late"), ["one", "one"]);

    let began = Instant::now();
    one.deposit("alice".into(), 5, "next".into()).await.unwrap();
    assert!(began.elapsed() < AT_ONCE, "it waited for {:?}", began.elapsed());
}
