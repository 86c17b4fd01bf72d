//! Plain TCP whose answers are waited for by asking the socket, not the operating system's sleep.

use std::io::{self, ErrorKind, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Connector, Io, TransportFuture};

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
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            // Tokio reads only when it was told that there is something; the other handle of the same
            // socket asks.
            let asked = stream.into_std()?;
            let stream = TcpStream::from_std(asked.try_clone()?)?;
            let limit = self.limit;
            Ok(Box::new(BusyPolled { stream, asked, limit, awaits_answer: false }) as Box<dyn Io>)
        })
    }
}

struct BusyPolled {
    stream: TcpStream,
    /// The same socket; it does not block.
    asked: std::net::TcpStream,
    limit: Duration,
    /// Something was written since something was read.
    awaits_answer: bool,
}

impl BusyPolled {
    /// Asks until there is an answer or the limit has passed.
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
        if polled.is_pending() && self.awaits_answer {
            self.awaits_answer = false;
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
        self.awaits_answer |= polled.is_ready();
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
