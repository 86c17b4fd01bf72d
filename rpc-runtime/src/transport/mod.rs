//! How bytes get from one end to the other: TCP, or within the process.
//!
//! The runtime needs of a transport only an ordered stream of bytes and who its peer is. A stream
//! may break at any byte; what the protocol then does is its own affair.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the traits [`Connector`] and [`Listener`] |
//! | `tcp.rs` | plain TCP, whose peers are anonymous |
//! | `busy_poll.rs` | [`BusyPolledTcp`] and [`BusyPolledAcceptor`], which ask the socket before they sleep |
//! | `in_process.rs` | [`InProcess`], a network within the process, for tests |
//!
//! A transport that authenticates its peers (TLS with client certificates) is one more file here:
//! its listener hands out the [`Identity`] that sessions and tables are keyed by.

mod busy_poll;
mod in_process;
mod tcp;

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub use self::busy_poll::{BusyPolledAcceptor, BusyPolledTcp};
pub use self::in_process::{InProcess, InProcessListener};
pub use self::tcp::{Tcp, TcpAcceptor};
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
    /// Waits for the next connection. An error concerns one connection only: the server goes on.
    fn accept(&mut self) -> TransportFuture<'_, Accepted>;

    /// Where clients reach it, in the transport's own form.
    fn address(&self) -> String;
}

/// A connection that a listener took.
pub struct Accepted {
    /// Its bytes.
    pub io: Box<dyn Io>,
    /// Who the peer is, as far as the transport has authenticated it.
    pub identity: Identity,
    /// Where it comes from, for logs.
    pub peer: String,
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepted")
            .field("identity", &self.identity)
            .field("peer", &self.peer)
            .finish()
    }
}

impl std::fmt::Debug for dyn Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Io")
    }
}
