//! The ends of the network, as clients and servers hold them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rpc::id::Identity;
use rpc::transport::{Accepted, Connector, Io, Listener, TransportFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::hub::Hub;
use super::network::LinkId;
use super::trace::End;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Socket {
    hub: Arc<Hub>,
    link: LinkId,
    /// Whose end it is.
    end: End,
}

/// A client's way onto the network.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) hub: Arc<Hub>,
    pub(super) client: u8,
    pub(super) life: u32,
}

/// A server's way onto the network.
#[derive(Debug)]
pub(super) struct Doorman {
    pub(super) hub: Arc<Hub>,
    pub(super) server: u8,
    pub(super) life: u32,
}

/// The address of a server.
pub(super) fn address(server: u8) -> String {
    format!("s{server}")
}

impl Socket {
    fn peer(&self) -> End {
        if self.end == End::Client { End::Server } else { End::Client }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.hub.with(|state| {
            let alive = state.is_alive(self.link, self.end);
            let way = state.network.links[self.link].way(self.end);
            if alive && !way.inbox.is_empty() {
                let count = way.inbox.len().min(buffer.remaining());
                buffer.put_slice(&way.inbox[..count]);
                way.inbox.drain(..count);
                return Poll::Ready(Ok(()));
            }
            if alive && way.is_broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if alive && way.is_over {
                return Poll::Ready(Ok(()));
            }
            // What died reads nothing any more.
            if !way.reader.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
                way.reader = Some(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (link, to) = (self.link, self.peer());
        let arrives = self.hub.with(|state| state.write(&self.hub.plan, link, to, bytes));
        Poll::Ready(if arrives { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (link, to) = (self.link, self.peer());
        self.hub.with(|state| state.close(&self.hub.plan, link, to));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let (link, to) = (self.link, self.peer());
        self.hub.with(|state| state.close(&self.hub.plan, link, to));
    }
}

impl Connector for Wire {
    fn connect<'a>(&'a self, address: &'a str) -> TransportFuture<'a, Box<dyn Io>> {
        let server = address.strip_prefix('s').and_then(|number| number.parse().ok());
        let connected = self.hub.with(|state| {
            let process = state.clients[usize::from(self.client)];
            let alive = process.alive && process.life == self.life;
            server.filter(|_| alive).and_then(|server| state.connect(self.client, server))
        });
        let made = match connected {
            Some(link) => {
                let hub = Arc::clone(&self.hub);
                Ok(Box::new(Socket { hub, link, end: End::Client }) as Box<dyn Io>)
            }
            None => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens")),
        };
        Box::pin(std::future::ready(made))
    }
}

impl Listener for Doorman {
    fn accept(&mut self) -> TransportFuture<'_, Accepted> {
        let (hub, server, life) = (Arc::clone(&self.hub), self.server, self.life);
        Box::pin(std::future::poll_fn(move |context| {
            hub.with(|state| {
                let process = state.servers[usize::from(server)];
                let door = &mut state.network.doors[usize::from(server)];
                if process.alive && process.life == life {
                    while let Some(link) = door.waiting.pop_front() {
                        if state.network.links[link].server_life == life {
                            let end = End::Server;
                            let io = Box::new(Socket { hub: Arc::clone(&hub), link, end });
                            let identity = Identity::anonymous();
                            return Poll::Ready(Ok(Accepted::open(io, identity, "")));
                        }
                    }
                }
                door.waker = Some(context.waker().clone());
                Poll::Pending
            })
        }))
    }

    fn address(&self) -> String {
        address(self.server)
    }
}
