//! What a session takes of a server's memory once its client has gone without closing it, and what a
//! call takes that waits.
//!
//! One test alone: the allocator counts for the whole process.

use std::alloc::System;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rpc::store::MemoryStore;
use rpc::{Client, Server, ServerConfig, Tx};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::Semaphore;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SESSIONS: usize = 500;
const MOST_BYTES: f64 = 500.0;
/// Calls of one client that wait at the same time, of each kind.
const WAITING: usize = 200;
/// What one of them takes, on both sides: its caller's task, and the server's with its run.
const MOST_WAITING_BYTES: f64 = 4096.0;
/// How long the server may take to let go of what belongs to a connection.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
struct Name(String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]
#[document(key = Name, collection = "account")]
struct Account(u64);

#[rpc::service]
trait Adding {
    async fn add(&self, tx: &mut Tx, #[anchor] to: Name, amount: u64) -> u64;
    async fn wait(&self) -> ();
    async fn wait_to_add(&self, tx: &mut Tx, #[anchor] to: Name, amount: u64) -> u64;
}

#[derive(Clone)]
struct Adder {
    arrived: Arc<Semaphore>,
    may_go: Arc<Semaphore>,
}

impl Adder {
    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.may_go.acquire().await.expect("it is not closed").forget();
    }
}

impl Adding for Adder {
    async fn add(&self, tx: &mut Tx, to: Name, amount: u64) -> u64 {
        let Account(before) = tx.get(&to).await.unwrap_or(Account(0));
        tx.put(&to, &Account(before + amount));
        before + amount
    }

    async fn wait(&self) {
        self.pass().await;
    }

    async fn wait_to_add(&self, tx: &mut Tx, to: Name, amount: u64) -> u64 {
        self.pass().await;
        self.add(tx, to, amount).await
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_waits_takes_little() -> Result<(), Box<dyn Error>> {
    let [arrived, may_go] = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
    let adder = Adder { arrived, may_go };
    let config = ServerConfig::default().detached_ttl(Duration::ZERO);
    let server = Server::builder(AddingServer::new(adder.clone()), Arc::new(MemoryStore::new()))
        .config(config)
        .bind("127.0.0.1:0")
        .await?;
    let address = server.address();
    tokio::spawn(server.serve());
    calls_that_wait(&address, &adder).await?;
    sessions_without_a_connection(&address).await
}

/// The tasks of such calls once had room for all that a call can need: a conflict, a recording.
async fn calls_that_wait(address: &str, adder: &Adder) -> Result<(), Box<dyn Error>> {
    let client: AddingClient = Client::builder().connect([address]).await?;
    // The second time, what is kept for reuse is there.
    for round in 0..2 {
        let before = bytes_in_use();
        let plain: Vec<_> = (0..WAITING).map(|_| tokio::spawn(client.wait())).collect();
        adder.arrived.acquire_many(WAITING as u32).await?.forget();
        let with_plain = bytes_in_use();
        let add = |account: usize| client.wait_to_add(Name(account.to_string()), 1);
        let writes: Vec<_> = (0..WAITING).map(|account| tokio::spawn(add(account))).collect();
        adder.arrived.acquire_many(WAITING as u32).await?.forget();
        let with_writes = bytes_in_use();
        adder.may_go.add_permits(2 * WAITING);
        for call in plain {
            call.await??;
        }
        for call in writes {
            call.await??;
        }
        if round == 1 {
            let each = |from: f64, to: f64| (to - from) / WAITING as f64;
            for (what, bytes) in
                [("plain", each(before, with_plain)), ("write", each(with_plain, with_writes))]
            {
                println!("{bytes:.0} bytes a {what} call that waits, client and server");
                assert!(bytes < MOST_WAITING_BYTES, "a {what} call that waits: {bytes:.0} bytes");
            }
        }
    }
    Ok(())
}

/// An ended connection once kept the memory of its task, 5 KB, until the next client came: after a
/// crowd had gone at once, all of it.
async fn sessions_without_a_connection(address: &str) -> Result<(), Box<dyn Error>> {
    // What is made once, and what is kept for reuse, is not the sessions'.
    drop(come(address, 10).await?);
    let before = bytes_in_use();
    let clients = come(address, SESSIONS).await?;
    let connected = bytes_in_use();
    drop(clients);
    let gone = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while (bytes_in_use() - before) / SESSIONS as f64 > MOST_BYTES {
            ticks.tick().await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, gone).await;
    let each = |bytes: f64| (bytes - before) / SESSIONS as f64;
    println!("{:.0} bytes a session, client and server, connected", each(connected));
    println!("{:.0} bytes a session, not connected", each(bytes_in_use()));
    assert!(in_time.is_ok(), "a session takes {:.0} bytes", each(bytes_in_use()));
    Ok(())
}

/// Each client makes a write; its session stays until its lease ends, also when it goes.
async fn come(address: &str, clients: usize) -> Result<Vec<AddingClient>, Box<dyn Error>> {
    let mut connected = Vec::new();
    for _ in 0..clients {
        let client: AddingClient = Client::builder().connect([address]).await?;
        client.add(Name("account".to_owned()), 1).await?;
        connected.push(client);
    }
    Ok(connected)
}

fn bytes_in_use() -> f64 {
    let heap = INSTRUMENTED_SYSTEM.stats();
    heap.bytes_allocated as f64 - heap.bytes_deallocated as f64
}
