//! Plain TCP. It authenticates nobody: use it within a network that you trust, or TLS over it.

use std::io;

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};

use super::{Accepted, Connector, Io, Listener, TransportFuture};
use crate::id::Identity;

/// Connects over plain TCP to addresses of the form `host:port`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connector for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> TransportFuture<'a, Box<dyn Io>> {
        Box::pin(async move { Ok(Box::new(connect(address).await?) as Box<dyn Io>) })
    }
}

/// Takes connections on a TCP port.
#[derive(Debug)]
pub struct TcpAcceptor(TcpListener);

impl TcpAcceptor {
    /// Listens on an address.
    ///
    /// # Errors
    /// If the address does not resolve, is in use, or is not this machine's.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpAcceptor> {
        TcpListener::bind(address).await.map(TcpAcceptor)
    }

    /// The next connection, and where it comes from.
    pub(super) async fn accept_stream(&mut self) -> io::Result<(TcpStream, String)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer.to_string()))
    }
}

/// A connection that sends what it is given at once.
pub(super) async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl From<TcpListener> for TcpAcceptor {
    fn from(listener: TcpListener) -> TcpAcceptor {
        TcpAcceptor(listener)
    }
}

impl Listener for TcpAcceptor {
    fn accept(&mut self) -> TransportFuture<'_, Accepted> {
        Box::pin(async move {
            let (stream, peer) = self.accept_stream().await?;
            Ok(Accepted::open(Box::new(stream), Identity::anonymous(), peer))
        })
    }

    fn address(&self) -> String {
        self.0.local_addr().map_or_else(|error| format!("<{error}>"), |address| address.to_string())
    }
}
