//! TLS on which both ends show who they are.
//!
//! A client learns that the server is the one it asked for; a server learns its client's [`Identity`], under
//! which the client's sessions, and so the ids of its calls, stand: nobody else can resume, acknowledge or
//! cancel them, even who has seen them.
//!
//! TLS 1.3 ([RFC 8446](https://www.rfc-editor.org/rfc/rfc8446)) by rustls, and nothing older. Without early
//! data, which a third party could send again, and without resumed TLS sessions: each connection checks the
//! certificates anew, and connections live long.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Tls`]: who an end is, and whom it believes |
//! | `connector.rs` | [`TlsConnector`], of a client |
//! | `acceptor.rs` | [`TlsAcceptor`], of a server |
//! | `name.rs` | the name by which a certificate identifies a client |
//! | `error.rs` | [`TlsError`] |

mod acceptor;
mod connector;
mod error;
mod name;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

pub use self::acceptor::TlsAcceptor;
pub use self::connector::TlsConnector;
pub use self::error::{NameError, TlsError};
use crate::id::Identity;

/// What both ends say that they speak (ALPN), so that neither takes another protocol's peer for its own.
const PROTOCOL: &[u8] = b"1rpc";

/// Who this end is, and whom it believes: a certificate and its key, and the authorities whose certificates
/// it accepts of others.
///
/// Clones are one and the same: [`Tls::replace`] on any of them concerns all.
///
/// ```no_run
/// # #[rpc::service] pub trait Hello { async fn hello(&self, name: String) -> String; }
/// # struct Greeter;
/// # impl Hello for Greeter { async fn hello(&self, name: String) -> String { name } }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = std::sync::Arc::new(rpc::store::MemoryStore::new());
/// use rpc::transport::{Tcp, TcpAcceptor, Tls, TlsAcceptor, TlsConnector};
///
/// let tls = Tls::from_pem_files("bank-1.pem", "bank-1.key", "authorities.pem")?;
/// let acceptor = TlsAcceptor::new(TcpAcceptor::bind("0.0.0.0:4000").await?, tls);
/// let server = rpc::Server::builder(HelloServer::new(Greeter), store).listen_on(acceptor);
///
/// let tls = Tls::from_pem_files("teller.pem", "teller.key", "authorities.pem")?;
/// let hello: HelloClient = rpc::Client::builder()
///     .connector(TlsConnector::new(Tcp, tls))
///     .connect(["bank-1.example:4000"])
///     .await?;
/// # drop((server, hello)); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls {
    ends: Arc<RwLock<Arc<Ends>>>,
}

/// What a connection is made with, in either role.
struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// Who this end is to a server.
    identity: Result<Identity, NameError>,
}

/// PEM, and where it is from.
struct Pem {
    place: String,
    bytes: Vec<u8>,
}

impl Tls {
    /// From three PEM files: this end's certificate, with those of the authorities between it and the root
    /// behind it; its private key (PKCS #8, SEC 1 or PKCS #1, not encrypted); the certificates of the
    /// authorities whose word is believed about others.
    ///
    /// # Errors
    /// If a file cannot be read or holds nothing of what it should, or certificate and key do not belong
    /// together.
    pub fn from_pem_files(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
        authorities: impl AsRef<Path>,
    ) -> Result<Tls, TlsError> {
        Tls::from_parts(
            &Pem::read(certificate.as_ref())?,
            &Pem::read(key.as_ref())?,
            &Pem::read(authorities.as_ref())?,
        )
    }

    /// As [`from_pem_files`](Tls::from_pem_files), from PEM that is in memory.
    ///
    /// # Errors
    /// As there.
    pub fn from_pem(certificate: &[u8], key: &[u8], authorities: &[u8]) -> Result<Tls, TlsError> {
        Tls::from_parts(
            &Pem::given("the given certificate", certificate),
            &Pem::given("the given key", key),
            &Pem::given("the given list of authorities", authorities),
        )
    }

    /// Has connections that are made from now on use another certificate, key and authorities: those of
    /// `with`. Connections that are open stay as they are.
    ///
    /// A certificate that names the same client goes on with the client's sessions.
    pub fn replace(&self, with: &Tls) {
        let ends = with.ends();
        *self.ends.write().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    /// Who this end is to a server that it connects to.
    ///
    /// # Errors
    /// If the certificate does not name one client: see [`TlsAcceptor`] for what names one. A server's need
    /// not.
    pub fn identity(&self) -> Result<Identity, NameError> {
        self.ends().identity.clone()
    }

    fn from_parts(certificate: &Pem, key: &Pem, authorities: &Pem) -> Result<Tls, TlsError> {
        let chain = certificate.certificates()?;
        let identity = name::identity_of(&chain[0]);
        let key = key.private_key()?;
        let mut roots = RootCertStore::empty();
        for authority in authorities.certificates()? {
            roots.add(authority).map_err(|source| TlsError::authority(authorities, source))?;
        }
        let ends = Ends::new(chain, key, roots, identity)
            .map_err(|source| TlsError::certificate(certificate, source))?;
        Ok(Tls { ends: Arc::new(RwLock::new(Arc::new(ends))) })
    }

    fn ends(&self) -> Arc<Ends> {
        Arc::clone(&self.ends.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ends {
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        roots: RootCertStore,
        identity: Result<Identity, NameError>,
    ) -> Result<Ends, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        client.resumption = Resumption::disabled();
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Ends { client: Arc::new(client), server: Arc::new(server), identity })
    }
}

impl Pem {
    fn read(path: &Path) -> Result<Pem, TlsError> {
        let place = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Ok(Pem { place, bytes }),
            Err(source) => Err(TlsError::Read { place, source }),
        }
    }

    fn given(place: &str, bytes: &[u8]) -> Pem {
        Pem { place: place.to_owned(), bytes: bytes.to_vec() }
    }

    /// At least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match found {
            Ok(found) if found.is_empty() => {
                Err(TlsError::NoCertificate { place: self.place.clone() })
            }
            Ok(found) => Ok(found),
            Err(source) => Err(TlsError::pem(self, source)),
        }
    }

    /// The error does not say what was found instead: it could be a part of the key.
    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes)
            .map_err(|_| TlsError::NoKey { place: self.place.clone() })
    }
}

/// Without the key.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
