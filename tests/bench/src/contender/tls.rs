//! This system over TLS.

use std::error::Error;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rpc::Client;
use rpc::store::MemoryStore;
use rpc::transport::{Tcp, Tls, TlsAcceptor, TlsConnector};

use super::ours::{WorkClient, listen, serve_over};

const SERVER: &str = "server.example";

/// Serves the plain method.
pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let acceptor = TlsAcceptor::new(listen().await?, end(SERVER)?);
    serve_over(Arc::new(MemoryStore::new()), acceptor).await
}

pub(crate) async fn connect(address: &str) -> Result<WorkClient, Box<dyn Error>> {
    let connector = TlsConnector::new(Tcp, end("client.example")?).expecting(SERVER)?;
    Ok(Client::builder().connector(connector).connect([address]).await?)
}

/// One end, of the authority that both processes make for themselves, each time the same.
fn end(name: &str) -> Result<Tls, Box<dyn Error>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::try_from(AUTHORITY_KEY)?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &authority)?;
    Ok(Tls::from_pem(
        certificate.pem().as_bytes(),
        key.serialize_pem().as_bytes(),
        authority.pem().as_bytes(),
    )?)
}

/// An Ed25519 key in PKCS #8, of 32 bytes of 7: no secret, and no one's.
const AUTHORITY_KEY: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
    0x20, //
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
];
