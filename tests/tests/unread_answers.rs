//! A peer that asks on and on, and does not read what it is answered.

use std::sync::Arc;
use std::time::Duration;

use rpc::store::MemoryStore;
use rpc::transport::{Connector as _, InProcess, Io, Listener as _};
use rpc::{Client, Server, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// What may wait to be sent to it: less than a direction holds, so that it can be sent at once.
const LIMIT: usize = 4 << 10;
/// All that a direction holds.
const WHOLE: usize = 64 << 10;
/// More than that in both of them, and whatever lies between.
const TOO_MUCH: usize = 1 << 20;
/// In virtual time: longer than anything that goes on takes.
const LONG: Duration = Duration::from_secs(1);
/// The frame of a ping. Its answer is as long.
const PING: [u8; 2] = [1, 4];

#[rpc::service]
trait Echo {
    async fn echo(&self, text: String) -> String;
}

struct Wall;

impl Echo for Wall {
    async fn echo(&self, text: String) -> String {
        text
    }
}

/// What a client says first.
async fn hello(network: &InProcess) -> Vec<u8> {
    let mut ear = network.listen("ear");
    let client = Client::builder().connector(network.clone());
    let greeting = tokio::spawn(async move { client.connect::<EchoClient>(["ear"]).await });
    let mut heard = ear.accept().await.unwrap().authenticate().await.unwrap().io;
    let mut said = vec![0; 4096];
    let length = heard.read(&mut said).await.unwrap();
    greeting.abort();
    said.truncate(length);
    said
}

/// Sends pings for as long as they are taken, and says how many bytes of them were.
async fn ping_on(io: &mut dyn Io) -> usize {
    let pings = PING.repeat(512);
    let mut taken = 0;
    while let Ok(written) = timeout(LONG, io.write(&pings[taken % 2..])).await {
        taken += written.unwrap();
        assert!(taken < TOO_MUCH, "the server reads on, though its answers are not");
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn no_more_is_read_from_who_does_not_read() {
    let network = InProcess::new();
    let hello = hello(&network).await;
    let config = ServerConfig::default().max_output_bytes(LIMIT);
    let server = Server::builder(EchoServer::new(Wall), Arc::new(MemoryStore::new()));
    tokio::spawn(server.config(config).listen_on(network.listen("wall")).serve());

    let mut io = network.connect("wall").await.unwrap();
    io.write_all(&hello).await.unwrap();
    let taken = ping_on(&mut *io).await;
    assert!(taken > LIMIT, "so much may wait: {taken}");

    let others = Client::builder().connector(network.clone());
    let others: EchoClient = others.connect(["wall"]).await.unwrap();
    assert_eq!(others.echo("hello".into()).await.unwrap(), "hello", "everyone else goes on");

    let (mut read, mut answers) = (0, vec![0; WHOLE]);
    while let Ok(length) = timeout(LONG, io.read(&mut answers)).await {
        read += length.unwrap();
    }
    assert!(read > taken, "and so does it, once it reads: {read} of {taken}");
}
