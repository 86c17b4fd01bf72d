//! How bytes get from one end to the other: TCP, TLS, or within the process.
//!
//! The runtime needs of a transport only an ordered stream of bytes and who its peer is. A stream
//! may break at any byte; what the protocol then does is its own affair.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the traits [`Connector`] and [`Listener`] |
//! | `tcp.rs` | plain TCP, whose peers are anonymous |
//! | `busy_poll.rs` | [`BusyPolledTcp`] and [`BusyPolledAcceptor`], which ask the socket before they sleep |
//! | `tls/` | TLS on which both ends show who they are (feature `tls`) |
//! | `in_process.rs` | [`InProcess`], a network within the process, for tests |
//!
//! A transport that authenticates its peers hands out the [`Identity`] that sessions and tables are
//! keyed by.

mod busy_poll;
mod in_process;
mod tcp;
#[cfg(feature = "tls")]
mod tls;

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub use self::busy_poll::{BusyPolledAcceptor, BusyPolledTcp};
pub use self::in_process::{InProcess, InProcessListener};
pub use self::tcp::{Tcp, TcpAcceptor};
#[cfg(feature = "tls")]
pub use self::tls::{NameError, Tls, TlsAcceptor, TlsConnector, TlsError};
use crate::id::Identity;

/// A stream of bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A boxed future of a transport.
pub type TransportFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Makes connections to servers, for a client.
pub trait Connector: Send + Sync + 'static {
    /// Connects to an address, which is text in the transport's own form.
    fn connect<'a>(&'a self, address: &'a str) -> TransportFuture<'a, Box<dyn Io>>;
}

/// Takes connections from clients, for a server.
pub trait Listener: Send + 'static {
    /// Waits for the next connection, and not for what its peer must say first: that is for
    /// [`Accepted::in_handshake`]. An error concerns one connection only: the server goes on.
    fn accept(&mut self) -> TransportFuture<'_, Accepted>;

    /// Where clients reach it, in the transport's own form.
    fn address(&self) -> String;
}

/// A connection that a listener took, and whose peer it has authenticated, or will.
pub struct Accepted {
    entry: Entry,
    peer: String,
}

enum Entry {
    Open(Authenticated),
    Handshake(TransportFuture<'static, Authenticated>),
}

/// A connection whose peer is as well known as the transport can know it.
pub struct Authenticated {
    /// Its bytes.
    pub io: Box<dyn Io>,
    /// Who the peer is.
    pub identity: Identity,
}

impl Accepted {
    /// A connection that is open, of a peer that is as well known as it will be. `peer` is where it comes
    /// from, for logs.
    pub fn open(io: Box<dyn Io>, identity: Identity, peer: impl Into<String>) -> Accepted {
        Accepted { entry: Entry::Open(Authenticated { io, identity }), peer: peer.into() }
    }

    /// A connection whose peer is still to be authenticated. The server lets `handshake` run in the
    /// connection's own task, so that a slow peer holds up nobody, for at most
    /// [`handshake_timeout`](crate::ServerConfig::handshake_timeout); an error ends this connection
    /// only.
    pub fn in_handshake(
        peer: impl Into<String>,
        handshake: impl Future<Output = io::Result<Authenticated>> + Send + 'static,
    ) -> Accepted {
        Accepted { entry: Entry::Handshake(Box::pin(handshake)), peer: peer.into() }
    }

    /// Where it comes from, for logs.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Waits until the peer is known.
    ///
    /// # Errors
    /// If the peer has not proved who it is, or the connection broke.
    pub async fn authenticate(self) -> io::Result<Authenticated> {
        match self.entry {
            Entry::Open(authenticated) => Ok(authenticated),
            Entry::Handshake(handshake) => handshake.await,
        }
    }
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let identity = match &self.entry {
            Entry::Open(authenticated) => Some(&authenticated.identity),
            Entry::Handshake(_) => None,
        };
        f.debug_struct("Accepted")
            .field("identity", &identity)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticated").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for dyn Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Io")
    }
}
