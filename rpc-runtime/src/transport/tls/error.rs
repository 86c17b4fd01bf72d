//! Why there is no TLS to be had from what was given.

use std::error::Error;

use super::Pem;

/// A certificate, a key or a list of authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {place}: {source}; name a PEM file that this program may read")]
    Read {
        /// The file.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// A damaged PEM file.
    #[error("{place} is no PEM: {source}; get it whole from whoever issued it")]
    Pem {
        /// The file.
        place: String,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nothing that begins with `-----BEGIN CERTIFICATE-----`.
    #[error(
        "{place} holds no certificate; give it one in PEM, `-----BEGIN CERTIFICATE-----` first"
    )]
    NoCertificate {
        /// The file.
        place: String,
    },
    /// Nothing that is a private key.
    #[error(
        "{place} holds no private key in PEM, or a damaged or an encrypted one; give it one in PKCS #8, `-----BEGIN PRIVATE KEY-----` first"
    )]
    NoKey {
        /// The file.
        place: String,
    },
    /// A certificate that is damaged, or not that of the key.
    #[error(
        "the certificate in {place} cannot be used: {source}; it must be the first there, and that of the key"
    )]
    Certificate {
        /// The file.
        place: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An authority's certificate that is damaged.
    #[error("an authority in {place} cannot be used: {source}; get its certificate anew")]
    Authority {
        /// The file.
        place: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A name that no certificate can have.
    #[error(
        "`{name}` is no name of a host; give the DNS name or the IP address that stands in the server's certificate"
    )]
    ServerName {
        /// The name.
        name: String,
    },
}

/// A certificate that does not name one client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The certificate cannot be read.
    #[error("the certificate cannot be read ({0}); issue it anew")]
    Malformed(String),
    /// It has neither a URI nor a DNS name.
    #[error(
        "the certificate has no subject alternative name that is a URI or a DNS name; issue one with such a name, for it is who the client is"
    )]
    None,
    /// It has several, of which none can be preferred.
    #[error(
        "the certificate has {0} names where one is who the client is; issue one with a single URI, or without URIs and with a single DNS name"
    )]
    Several(usize),
    /// A name for many.
    #[error(
        "`{0}` is a name for many, and so nobody's; issue a certificate with the client's own name"
    )]
    Wildcard(String),
    /// Longer than a name may be.
    #[error("the certificate's name is longer than {max} bytes; issue one with a shorter name", max = crate::id::Identity::MAX_LEN)]
    TooLong,
}

impl TlsError {
    pub(super) fn pem(pem: &Pem, source: impl Error + Send + Sync + 'static) -> TlsError {
        TlsError::Pem { place: pem.place.clone(), source: Box::new(source) }
    }

    pub(super) fn certificate(pem: &Pem, source: impl Error + Send + Sync + 'static) -> TlsError {
        TlsError::Certificate { place: pem.place.clone(), source: Box::new(source) }
    }

    pub(super) fn authority(pem: &Pem, source: impl Error + Send + Sync + 'static) -> TlsError {
        TlsError::Authority { place: pem.place.clone(), source: Box::new(source) }
    }
}
