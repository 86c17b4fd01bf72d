//! TLS for the node: an authority and a certificate that are made when it starts and gone when it
//! stops, so no private key lies anywhere and none expires in the sources.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

/// The node's certificate, ready to be shown.
pub(super) struct Certificate {
    pub(super) acceptor: TlsAcceptor,
    /// The authority that vouches for it, as PEM.
    pub(super) ca: String,
}

impl Certificate {
    /// A certificate for 127.0.0.1, and no other name, of an authority made for it.
    pub(super) fn new() -> io::Result<Certificate> {
        let (ca, leaf, key) = authority_and_leaf().map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .map_err(io::Error::other)?;
        Ok(Certificate { acceptor: TlsAcceptor::from(Arc::new(config)), ca })
    }
}

fn authority_and_leaf() -> Result<(String, rcgen::Certificate, PrivateKeyDer<'static>), rcgen::Error>
{
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let leaf = leaf.signed_by(&key, &issuer)?;
    Ok((ca, leaf, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}
