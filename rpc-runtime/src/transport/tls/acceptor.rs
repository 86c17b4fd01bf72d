//! The server's side.

use std::io;

use super::{Tls, name};
use crate::transport::{Accepted, Authenticated, Listener, TcpAcceptor, TransportFuture};

/// Takes connections over TLS, through another listener: mostly a [`TcpAcceptor`].
///
/// A client must have a certificate of one of the authorities of the [`Tls`]. It is known by the certificate's
/// one name: a subject alternative name that is a URI (such as a SPIFFE id); without one, that which is a DNS
/// name. A certificate with none or with several such names is nobody's. So a new certificate with the same
/// name is the same client, and whoever may issue certificates says who is who.
///
/// Who has no such certificate is refused, and so is who takes longer than
/// [`handshake_timeout`](crate::ServerConfig::handshake_timeout); others do not notice.
///
/// There are no lists of revoked certificates: let them be short-lived, and [replace](Tls::replace) the
/// authorities to shut out all that one of them has issued.
///
/// See [`Tls`] for an example.
#[derive(Debug)]
pub struct TlsAcceptor<L = TcpAcceptor> {
    listener: L,
    tls: Tls,
}

impl<L: Listener> TlsAcceptor<L> {
    /// TLS over what `listener` takes.
    pub fn new(listener: L, tls: Tls) -> TlsAcceptor<L> {
        TlsAcceptor { listener, tls }
    }
}

impl<L: Listener> Listener for TlsAcceptor<L> {
    fn accept(&mut self) -> TransportFuture<'_, Accepted> {
        Box::pin(async move {
            let accepted = self.listener.accept().await?;
            let peer = accepted.peer().to_owned();
            Ok(Accepted::in_handshake(peer, handshake(accepted, self.tls.clone())))
        })
    }

    fn address(&self) -> String {
        self.listener.address()
    }
}

async fn handshake(accepted: Accepted, tls: Tls) -> io::Result<Authenticated> {
    let Authenticated { io, .. } = accepted.authenticate().await?;
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.ends().server.clone());
    let io = acceptor.accept(io).await?;
    let (_, session) = io.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.expect("TLS takes nobody without a certificate");
    let identity = name::identity_of(certificate)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Authenticated { io: Box::new(io), identity })
}
