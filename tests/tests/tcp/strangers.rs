//! Real sockets: peers that send garbage, an unknown version, another service, a method that
//! differs, an oversized frame, or nothing at all. Each gets a clear reject and its connection
//! closed; everyone else goes on.

use std::sync::Arc;
use std::time::Duration;

use rpc::error::{ConnectError, RejectReason};
use rpc::id::Identity;
use rpc::store::MemoryStore;
use rpc::testing::{Direction, FrameView, cut, inspect};
use rpc::transport::{Accepted, Listener, TcpAcceptor, TransportFuture};
use rpc::{ServerConfig, ServerHandle};
use rpc_tests::world::{LedgerClient, LedgerOn, LedgerServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Fails a test that hangs.
const HANGS: Duration = Duration::from_secs(60);
const MAX_FRAME: usize = 1 << 20;

/// A service that nobody here serves.
mod other {
    #[rpc::service]
    pub(crate) trait Elsewhere {
        async fn echo(&self, text: String) -> String;
    }
}

/// The same service as others once had it.
mod older {
    #[rpc::service(name = "Ledger")]
    pub(crate) trait OldLedger {
        async fn echo(&self, text: u64) -> String;
    }
}

struct House {
    address: String,
    handle: ServerHandle<LedgerServer<LedgerOn>>,
    /// Goes on, whatever strangers do.
    bystander: LedgerClient,
}

impl House {
    async fn open(config: ServerConfig) -> House {
        let service = LedgerServer::new(LedgerOn::new("A", &Arc::default()));
        let server = rpc::Server::builder(service, Arc::new(MemoryStore::new())).config(config);
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let (address, handle) = (server.address(), server.handle());
        tokio::spawn(server.serve());
        let bystander = rpc::Client::builder().connect([&address[..]]).await.unwrap();
        House { address, handle, bystander }
    }

    /// Sends bytes and hears the server's last word.
    async fn reject_of(&self, bytes: &[u8]) -> (RejectReason, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let (reason, message) = last_word(&mut stream).await;
        assert!(!message.is_empty());
        self.assert_goes_on().await;
        (reason, message)
    }

    async fn assert_goes_on(&self) {
        assert_eq!(self.bystander.echo("on".into()).await.unwrap(), "on");
        let newcomer: LedgerClient =
            rpc::Client::builder().connect([&self.address[..]]).await.unwrap();
        assert_eq!(newcomer.echo("in".into()).await.unwrap(), "in");
    }
}

/// Reads to the end of a stream, whose last frame is a reject.
async fn last_word(stream: &mut TcpStream) -> (RejectReason, String) {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(HANGS, stream.read_to_end(&mut bytes)).await;
    read.expect("the connection is closed").unwrap();
    let mut last = None;
    while let Some(frame) = cut(&mut bytes, MAX_FRAME).unwrap() {
        last = Some(inspect(&frame, Direction::ToClient).unwrap());
    }
    assert!(bytes.is_empty(), "whole frames only");
    match last {
        Some(FrameView::Reject { reason, message }) => (reason, message),
        other => panic!("a reject comes last, not {other:?}"),
    }
}

/// What a real client says first.
async fn real_hello() -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = tokio::spawn(async move {
        let _never_welcomed = rpc::Client::builder().connect::<LedgerClient>([address]).await;
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    let hello = loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        if let Some(hello) = cut(&mut bytes, MAX_FRAME).unwrap() {
            break hello;
        }
    };
    client.abort();
    hello
}

/// Where the body of a frame begins.
fn body_of(frame: &[u8]) -> usize {
    frame.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1
}

#[tokio::test]
async fn garbage() {
    let house = House::open(ServerConfig::default()).await;
    let http = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(200));
    for noise in [
        http.as_bytes(),
        &[0xff; 64],
        &[0; 64],
        b"SSH-2.0-OpenSSH_9.7 and so on, and so on, and so on, and so on, and so on, and so on",
    ] {
        let (reason, message) = house.reject_of(noise).await;
        assert_eq!(reason, RejectReason::BadHello);
        assert!(
            message.contains("does not speak this protocol") || message.contains("frame"),
            "{message}"
        );
    }
    assert_eq!(house.handle.stats().rejected, 4);
}

#[tokio::test]
async fn unknown_version() {
    let house = House::open(ServerConfig::default()).await;
    let mut hello = real_hello().await;
    let version = body_of(&hello) + 1 + 4;
    hello[version] = 99;
    let (reason, message) = house.reject_of(&hello).await;
    assert_eq!(reason, RejectReason::Version);
    assert!(message.contains("version"), "{message}");
}

#[tokio::test]
async fn another_service() {
    let house = House::open(ServerConfig::default()).await;
    let connected =
        rpc::Client::builder().connect::<other::ElsewhereClient>([&house.address[..]]).await;
    let Err(ConnectError::Rejected { reason, message, .. }) = connected else {
        panic!("it serves no such thing")
    };
    assert_eq!(reason, RejectReason::WrongService);
    assert!(message.contains("`Ledger`") && message.contains("`Elsewhere`"), "{message}");
    house.assert_goes_on().await;
}

#[tokio::test]
async fn a_method_that_differs() {
    let house = House::open(ServerConfig::default()).await;
    let connected =
        rpc::Client::builder().connect::<older::OldLedgerClient>([&house.address[..]]).await;
    let Err(ConnectError::Rejected { reason, message, .. }) = connected else {
        panic!("they disagree")
    };
    assert_eq!(reason, RejectReason::MethodMismatch);
    assert!(message.contains("`echo`"), "{message}");
    house.assert_goes_on().await;
}

#[tokio::test]
async fn an_oversized_frame() {
    let house = House::open(ServerConfig::default().max_frame_bytes(MAX_FRAME)).await;
    // A length of 256 MiB, instead of a hello and behind one.
    let oversized = [0x80, 0x80, 0x80, 0x80, 0x01];
    let (reason, _) = house.reject_of(&oversized).await;
    assert_eq!(reason, RejectReason::BadHello);
    let (reason, message) = house.reject_of(&[&real_hello().await[..], &oversized].concat()).await;
    assert_eq!(reason, RejectReason::Misbehaved);
    assert!(message.contains("268435456") && message.contains("max_frame_bytes"), "{message}");
}

#[tokio::test]
async fn a_frame_that_is_none() {
    let house = House::open(ServerConfig::default()).await;
    for frame in [&[1, 0x07][..], &[2, 0x04, 0x00], &[1, 0x01], &[0]] {
        let (reason, _) = house.reject_of(&[&real_hello().await[..], frame].concat()).await;
        assert_eq!(reason, RejectReason::Misbehaved);
    }
}

#[tokio::test]
async fn silence() {
    let limit = Duration::from_millis(50);
    let house = House::open(ServerConfig::default().handshake_timeout(limit)).await;
    for start in [&b""[..], &real_hello().await[..10]] {
        let (reason, message) = house.reject_of(start).await;
        assert_eq!(reason, RejectReason::BadHello);
        assert!(message.contains("50ms"), "{message}");
    }
}

#[tokio::test]
async fn strangers_that_leave_at_once() {
    let house = House::open(ServerConfig::default()).await;
    let hello = real_hello().await;
    for at in 0..hello.len() {
        let mut stream = TcpStream::connect(&house.address).await.unwrap();
        stream.write_all(&hello[..at]).await.unwrap();
    }
    house.assert_goes_on().await;
}

#[tokio::test]
async fn too_many_connections() {
    let house = House::open(ServerConfig::default().max_connections(2)).await;
    let _second = TcpStream::connect(&house.address).await.unwrap();
    let mut third = TcpStream::connect(&house.address).await.unwrap();
    let (reason, _) = last_word(&mut third).await;
    assert_eq!(reason, RejectReason::Overloaded);
    assert_eq!(house.bystander.echo("on".into()).await.unwrap(), "on");
}

/// A listener of one's own, which hands out names that no store could keep.
struct Namer(TcpAcceptor, usize);

impl Listener for Namer {
    fn accept(&mut self) -> TransportFuture<'_, Accepted> {
        Box::pin(async {
            let accepted = self.0.accept().await?;
            let io = accepted.authenticate().await?.io;
            Ok(Accepted::open(io, Identity::named(&"x".repeat(self.1)), "somewhere"))
        })
    }

    fn address(&self) -> String {
        self.0.address()
    }
}

#[tokio::test]
async fn names_that_are_too_long() {
    for (length, is_let_in) in [(Identity::MAX_LEN, true), (Identity::MAX_LEN + 1, false)] {
        let listener = Namer(TcpAcceptor::bind("127.0.0.1:0").await.unwrap(), length);
        let service = LedgerServer::new(LedgerOn::new("A", &Arc::default()));
        let server = rpc::Server::builder(service, Arc::new(MemoryStore::new()));
        let server = server.listen_on(listener);
        let (address, handle) = (server.address(), server.handle());
        tokio::spawn(server.serve());
        let limit = if is_let_in { HANGS } else { Duration::from_millis(200) };
        let client = rpc::Client::builder().connect_limit(limit);
        let connected = client.connect::<LedgerClient>([address]).await;
        assert_eq!(connected.is_ok(), is_let_in, "{connected:?}");
        assert_eq!(handle.stats().rejected > 0, !is_let_in);
    }
}
