//! What a TLS client of another make meets: no resumed sessions, and no protocol but ours.

use std::io;
use std::sync::Arc;

use rpc::transport::{Connector as _, InProcess};
use rpc_tests::certificates::{Authority, Issued, Name};
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use super::{BANK, Bank};

/// One that would resume sessions, and that speaks this protocol.
fn config(authority: &Authority, issued: &Issued, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.enable_early_data = true;
    Arc::new(config)
}

/// Connects, hears the server out, and says how the handshake went.
async fn visit(network: &InProcess, config: &Arc<ClientConfig>) -> io::Result<HandshakeKind> {
    let io = network.connect(BANK).await?;
    let host = ServerName::try_from(BANK).unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(host, io).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"1rpc"[..]));
    let kind = stream.get_ref().1.handshake_kind().expect("it has ended");
    // Until the server rejects who says no hello: tickets would have come by then.
    let mut heard = Vec::new();
    let _rejected = stream.read_to_end(&mut heard).await;
    Ok(kind)
}

#[tokio::test(start_paused = true)]
async fn each_connection_shows_its_certificate_anew() {
    let (network, ours) = (InProcess::new(), Authority::new("ours"));
    let _bank = Bank::open(network.listen(BANK), ours.end(BANK));
    let config = config(&ours, &ours.issue(&[Name::Dns("teller")]), b"1rpc");
    for _ in 0..3 {
        assert_eq!(visit(&network, &config).await.unwrap(), HandshakeKind::Full);
    }
}

#[tokio::test(start_paused = true)]
async fn who_speaks_another_protocol_over_tls() {
    let (network, ours) = (InProcess::new(), Authority::new("ours"));
    let _bank = Bank::open(network.listen(BANK), ours.end(BANK));
    let config = config(&ours, &ours.issue(&[Name::Dns("teller")]), b"h2");
    let error = visit(&network, &config).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}
