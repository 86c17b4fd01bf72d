//! Real sockets: who is not to be believed is refused, with a reason, and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use rpc::error::ConnectError;
use rpc::store::MemoryStore;
use rpc::transport::{Connector as _, InProcess, Tcp, TcpAcceptor, Tls, TlsAcceptor, TlsConnector};
use rpc::{Client, Server, ServerConfig};
use rpc_tests::certificates::{Authority, Name};
use rpc_tests::world::{LedgerClient, LedgerOn, LedgerServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{BANK, Bank, end};

/// How long a client that will not get in tries.
const TRIES: Duration = Duration::from_secs(2);
/// Fails a test that hangs.
const HANGS: Duration = Duration::from_secs(60);

async fn bank(authority: &Authority, config: ServerConfig) -> Bank {
    let acceptor = TcpAcceptor::bind("127.0.0.1:0").await.unwrap();
    Bank::open_with(acceptor, authority.end(BANK), config)
}

fn to_bank(tls: Tls) -> TlsConnector {
    TlsConnector::new(Tcp, tls).expecting(BANK).unwrap()
}

async fn connect(
    bank: &Bank,
    connector: TlsConnector,
    limit: Duration,
) -> Result<LedgerClient, ConnectError> {
    Client::builder().connector(connector).connect_limit(limit).connect([&bank.address[..]]).await
}

/// Why a client does not get in.
async fn refusal(bank: &Bank, connector: TlsConnector) -> String {
    match connect(bank, connector, TRIES).await {
        Err(error @ ConnectError::Unreachable { .. }) => error.to_string(),
        other => panic!("it must not get in: {other:?}"),
    }
}

async fn assert_goes_on(bank: &Bank, authority: &Authority) {
    let client = Client::builder().connector(to_bank(authority.end("teller")));
    let client: LedgerClient = client.connect([&bank.address[..]]).await.unwrap();
    assert_eq!(client.echo("in".into()).await.unwrap(), "in");
}

#[tokio::test]
async fn a_client_of_another_authority() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let bank = bank(&ours, ServerConfig::default()).await;
    let stranger = end(&theirs.issue(&[Name::Dns("teller")]), &ours);
    let why = refusal(&bank, to_bank(stranger)).await;
    assert!(why.contains("alert"), "{why}");
    assert!(bank.handle.stats().rejected > 0);
    assert_goes_on(&bank, &ours).await;
}

#[tokio::test]
async fn a_server_of_another_authority() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let bank = bank(&ours, ServerConfig::default()).await;
    let client = end(&ours.issue(&[Name::Dns("teller")]), &theirs);
    let why = refusal(&bank, to_bank(client)).await;
    assert!(why.contains("certificate") && why.contains("authorities"), "{why}");
    assert_goes_on(&bank, &ours).await;
}

#[tokio::test]
async fn a_server_of_another_name() {
    let ours = Authority::new("ours");
    let bank = bank(&ours, ServerConfig::default()).await;
    let elsewhere = TlsConnector::new(Tcp, ours.end("teller")).expecting("elsewhere.example");
    let why = refusal(&bank, elsewhere.unwrap()).await;
    assert!(why.contains("must name `elsewhere.example`"), "{why}");
    // Without a name to expect it is that of the address.
    let why = refusal(&bank, TlsConnector::new(Tcp, ours.end("teller"))).await;
    assert!(why.contains("must name `127.0.0.1`"), "{why}");
}

#[tokio::test]
async fn a_certificate_that_is_over() {
    let ours = Authority::new("ours");
    let bank = bank(&ours, ServerConfig::default()).await;
    let expired = ours.issue_expired(&[Name::Dns("teller")]);
    let why = refusal(&bank, to_bank(end(&expired, &ours))).await;
    assert!(why.contains("alert") && why.contains("xpired"), "{why}");
    assert_goes_on(&bank, &ours).await;
}

#[tokio::test]
async fn a_certificate_for_servers_is_none_of_a_client() {
    let ours = Authority::new("ours");
    let bank = bank(&ours, ServerConfig::default()).await;
    let server = ours.issue_for_servers(&[Name::Dns("teller")]);
    let why = refusal(&bank, to_bank(end(&server, &ours))).await;
    assert!(why.contains("alert"), "{why}");
}

#[tokio::test]
async fn a_certificate_that_is_nobodys() {
    let ours = Authority::new("ours");
    let bank = bank(&ours, ServerConfig::default()).await;
    let nobody = ours.issue(&[Name::Dns("a"), Name::Dns("b")]);
    let why = refusal(&bank, to_bank(end(&nobody, &ours))).await;
    assert!(why.contains("cannot show who it is") && why.contains("2 names"), "{why}");
}

#[tokio::test]
async fn who_speaks_no_tls() {
    let ours = Authority::new("ours");
    let bank = bank(&ours, ServerConfig::default()).await;
    let plain = Client::builder().connect_limit(TRIES);
    let plain = plain.connect::<LedgerClient>([&bank.address[..]]).await;
    assert!(matches!(plain, Err(ConnectError::Unreachable { .. })), "{plain:?}");
    let mut stream = TcpStream::connect(&bank.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let read = tokio::time::timeout(HANGS, stream.read_to_end(&mut heard)).await;
    // It may be told so by TLS; what counts is that the connection ends.
    let _reset_or_closed = read.expect("the connection is closed");
    assert_goes_on(&bank, &ours).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let ours = Authority::new("ours");
    let service = LedgerServer::new(LedgerOn::new("A", &Arc::default()));
    let server = Server::builder(service, Arc::new(MemoryStore::new()));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let address = server.address();
    tokio::spawn(server.serve());
    let client = Client::builder().connector(to_bank(ours.end("teller"))).connect_limit(TRIES);
    let connected = client.connect::<LedgerClient>([&address[..]]).await;
    let Err(ConnectError::Unreachable { detail, .. }) = connected else {
        panic!("{connected:?}");
    };
    assert!(detail.contains("no TLS"), "{detail}");
}

/// However many say nothing, others get in meanwhile; and they are cut off in time.
#[tokio::test]
async fn who_says_nothing() {
    let ours = Authority::new("ours");
    let limit = Duration::from_millis(200);
    let bank = bank(&ours, ServerConfig::default().handshake_timeout(limit)).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(&bank.address).await.unwrap());
    }
    assert_goes_on(&bank, &ours).await;
    for mut stream in silent {
        let mut heard = Vec::new();
        let read = tokio::time::timeout(HANGS, stream.read_to_end(&mut heard)).await;
        read.expect("it is cut off").unwrap();
        assert!(heard.is_empty(), "TLS says nothing to who says nothing");
    }
    assert_eq!(bank.handle.stats().rejected, 20);
}

/// Who is in the middle of a handshake does not hold up a server that is to end.
#[tokio::test(start_paused = true)]
async fn a_server_ends_during_a_handshake() {
    let (network, ours) = (InProcess::new(), Authority::new("ours"));
    let service = LedgerServer::new(LedgerOn::new("A", &Arc::default()));
    let server = Server::builder(service, Arc::new(MemoryStore::new()))
        .listen_on(TlsAcceptor::new(network.listen(BANK), ours.end(BANK)));
    let handle = server.handle();
    let (end, ends) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve_with_shutdown(async { ends.await.unwrap() }));
    let mut silent = network.connect(BANK).await.unwrap();
    while handle.stats().connections == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    end.send(()).unwrap();
    serving.await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(100), "it took {:?}", begun.elapsed());
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
}

/// A server that is full listens to a handshake for a moment only.
#[tokio::test(start_paused = true)]
async fn one_too_many_that_says_nothing() {
    let (network, ours) = (InProcess::new(), Authority::new("ours"));
    let config = ServerConfig::default().max_connections(0);
    let _bank = Bank::open_with(network.listen(BANK), ours.end(BANK), config);
    let begun = Instant::now();
    let mut silent = network.connect(BANK).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
}

/// Who is one too many hears so over TLS, as everything else.
#[tokio::test]
async fn one_too_many() {
    let ours = Authority::new("ours");
    let bank = bank(&ours, ServerConfig::default().max_connections(1)).await;
    let _first = connect(&bank, to_bank(ours.end("teller")), HANGS).await.unwrap();
    let why = refusal(&bank, to_bank(ours.end("other"))).await;
    assert!(why.contains("as many connections as its limits allow"), "{why}");
}
