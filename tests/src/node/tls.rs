//! TLS for the node: an authority and a certificate that are made when it starts and gone when it
//! stops, so no private key lies anywhere and none expires in the sources.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

use crate::certificates::{Authority, Name};

/// The node's certificate, ready to be shown.
pub(super) struct Certificate {
    pub(super) acceptor: TlsAcceptor,
    /// The authority that vouches for it, as PEM.
    pub(super) ca: String,
}

impl Certificate {
    /// A certificate for 127.0.0.1, and no other name, of an authority made for it.
    pub(super) fn new() -> io::Result<Certificate> {
        let authority = Authority::new("the node's");
        let issued = authority.issue(&[Name::Ip(Ipv4Addr::LOCALHOST.into())]);
        let leaf = CertificateDer::from_pem_slice(issued.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes());
        let (leaf, key) = (leaf.map_err(io::Error::other)?, key.map_err(io::Error::other)?);
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .map_err(io::Error::other)?;
        Ok(Certificate { acceptor: TlsAcceptor::from(Arc::new(config)), ca: authority.pem() })
    }
}
