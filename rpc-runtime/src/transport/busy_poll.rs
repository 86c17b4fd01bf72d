//! Plain TCP at which what comes next is waited for by asking the socket, not in the operating system's
//! sleep.

use std::io::{self, ErrorKind, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tcp::{self, TcpAcceptor};
use super::{Accepted, Connector, Io, Listener, TransportFuture};
use crate::id::Identity;

/// Connects over plain TCP as [`Tcp`](super::Tcp) does, and once it has written asks the socket again
/// and again for the answer, for as long as it was told, before it sleeps.
///
/// A lone call is answered sooner by what a sleep and a wake-up cost, which is most of its time on a
/// fast network. The price: **the thread does nothing else meanwhile**, neither other tasks of a
/// `current_thread` runtime nor those of this worker. So it is for a client that has a thread to
/// itself and few calls in flight; with many, answers are there before anyone could sleep.
///
/// ```no_run
/// # #[rpc::service] pub trait Hello { async fn hello(&self, name: String) -> String; }
/// # async fn example() -> Result<(), rpc::ConnectError> {
/// use std::time::Duration;
/// use rpc::transport::BusyPolledTcp;
///
/// let hello: HelloClient = rpc::Client::builder()
///     .connector(BusyPolledTcp::new(Duration::from_micros(50)))
///     .connect(["10.0.0.1:4000"])
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BusyPolledTcp {
    limit: Duration,
}

impl BusyPolledTcp {
    /// Asks the socket for at most `limit` after each write: a little more than a usual answer takes.
    /// Longer only burns time, as nothing but the answer is waited for.
    #[must_use]
    pub fn new(limit: Duration) -> BusyPolledTcp {
        BusyPolledTcp { limit }
    }
}

impl Connector for BusyPolledTcp {
    fn connect<'a>(&'a self, address: &'a str) -> TransportFuture<'a, Box<dyn Io>> {
        Box::pin(async move {
            let stream = tcp::connect(address).await?;
            Ok(Box::new(BusyPolled::new(stream, self.limit)?) as Box<dyn Io>)
        })
    }
}

/// Takes connections as a [`TcpAcceptor`] does; on each of them, once answers are written, the server
/// asks the socket again and again for the next request, for as long as it was told, before it sleeps.
///
/// The counterpart of [`BusyPolledTcp`], at the same price: **the thread does nothing else meanwhile**,
/// so each answer on one connection may hold up the others of its thread by the limit. It is for a
/// server with a thread for each of a few clients, which ask again as soon as they are answered.
///
/// ```
/// # #[rpc::service] pub trait Hello { async fn hello(&self, name: String) -> String; }
/// # struct Greeter;
/// # impl Hello for Greeter { async fn hello(&self, name: String) -> String { name } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use std::time::Duration;
/// use rpc::transport::{BusyPolledAcceptor, TcpAcceptor};
///
/// let store = Arc::new(rpc::store::MemoryStore::new());
/// let acceptor = TcpAcceptor::bind("127.0.0.1:0").await?;
/// let server = rpc::Server::builder(HelloServer::new(Greeter), store)
///     .listen_on(BusyPolledAcceptor::new(acceptor, Duration::from_micros(50)));
/// # let _ = server;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct BusyPolledAcceptor {
    acceptor: TcpAcceptor,
    limit: Duration,
}

impl BusyPolledAcceptor {
    /// Asks each socket for at most `limit` after each write: a little more than a client takes to ask
    /// again.
    #[must_use]
    pub fn new(acceptor: TcpAcceptor, limit: Duration) -> BusyPolledAcceptor {
        BusyPolledAcceptor { acceptor, limit }
    }
}

impl Listener for BusyPolledAcceptor {
    fn accept(&mut self) -> TransportFuture<'_, Accepted> {
        Box::pin(async move {
            let (stream, peer) = self.acceptor.accept_stream().await?;
            let io = Box::new(BusyPolled::new(stream, self.limit)?);
            Ok(Accepted::open(io, Identity::anonymous(), peer))
        })
    }

    fn address(&self) -> String {
        self.acceptor.address()
    }
}

struct BusyPolled {
    stream: TcpStream,
    /// The same socket; it does not block.
    asked: std::net::TcpStream,
    limit: Duration,
    /// Something was written since something was read: it is the peer's turn.
    awaits_peer: bool,
}

impl BusyPolled {
    fn new(stream: TcpStream, limit: Duration) -> io::Result<BusyPolled> {
        // Tokio reads only when it was told that there is something; the other handle of the same
        // socket asks.
        let asked = stream.into_std()?;
        let stream = TcpStream::from_std(asked.try_clone()?)?;
        Ok(BusyPolled { stream, asked, limit, awaits_peer: false })
    }

    /// Asks until there is something or the limit has passed.
    fn ask(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let until = Instant::now() + self.limit;
        loop {
            match self.asked.read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if Instant::now() >= until {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncRead for BusyPolled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // First: so that the task is woken if nobody asks, or asks in vain.
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_pending() && self.awaits_peer {
            self.awaits_peer = false;
            return self.ask(buffer);
        }
        polled
    }
}

impl AsyncWrite for BusyPolled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.awaits_peer |= polled.is_ready();
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
