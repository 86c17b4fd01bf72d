//! The hot paths within one process and one thread: the real client and the real server, with
//! memory between them instead of a network. Nothing here depends on a kernel or on luck, so what
//! is counted can be compared with what was counted before.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use clap::ValueEnum;
use rpc::store::MemoryStore;
use rpc::transport::{Connector, InProcess, Io, TransportFuture};
use rpc::{Client, ClientConfig, Server};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::contender::ours::{self, WorkClient, WorkServer, Worker};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Path {
    /// A method with neither `Tx` nor `View`.
    Plain,
    /// The same with arguments that are lent.
    PlainLent,
    /// A write on the memory store.
    Write,
}

/// The paths that are guarded: what is called, and with how many calls in flight.
pub const GUARDED: [(Path, usize); 6] = [
    (Path::Plain, 1),
    (Path::Plain, 64),
    (Path::Plain, 1024),
    (Path::PlainLent, 1024),
    (Path::Write, 1),
    (Path::Write, 64),
];

/// How a guarded path is called in the baseline.
#[must_use]
pub fn name(path: Path, in_flight: usize) -> String {
    let what = path.to_possible_value().expect("no path is hidden").get_name().to_owned();
    format!("{what} at {in_flight}")
}

/// What went between the two, counted at the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes to the server.
    pub sent: u64,
    /// Bytes to the client.
    pub received: u64,
    /// Writes of the client: one has all that was ready.
    pub writes: u64,
}

/// Connects, then makes this many calls, so many of them in flight at once.
///
/// # Errors
/// If there is no runtime to be had, or the server is not reached.
pub fn run(path: Path, in_flight: usize, calls: usize) -> Result<Traffic, Box<dyn Error>> {
    let counter = Arc::new(Counter::default());
    let calls = make_calls(path, in_flight, calls, Arc::clone(&counter));
    crate::cli::local_runtime()?.block_on(calls)?;
    Ok(Traffic {
        sent: counter.sent.load(Ordering::Relaxed),
        received: counter.received.load(Ordering::Relaxed),
        writes: counter.writes.load(Ordering::Relaxed),
    })
}

async fn make_calls(
    path: Path,
    in_flight: usize,
    calls: usize,
    counter: Arc<Counter>,
) -> Result<(), Box<dyn Error>> {
    let network = InProcess::new();
    let listener = network.listen("server");
    let server = Server::builder(WorkServer::new(Worker), Arc::new(MemoryStore::new()));
    tokio::spawn(server.listen_on(listener).serve());
    // However slow a checker makes the run, nothing is sent twice and nothing for being late.
    let config = ClientConfig::default()
        .seed(Some(1))
        .ack_delay(Duration::from_secs(3600))
        .initial_timeout(Duration::from_secs(3600))
        .min_timeout(Duration::from_secs(3600))
        .max_timeout(Duration::from_secs(3600))
        .deadline(Duration::from_secs(3600))
        .keepalive(Duration::from_secs(3600));
    let connector = Counting { network, counter };
    let client: WorkClient =
        Client::builder().config(config).connector(connector).connect(["server"]).await?;
    let callers: Vec<_> = (0..in_flight)
        .map(|caller| {
            let client = client.clone();
            let share = calls / in_flight + usize::from(caller < calls % in_flight);
            tokio::task::spawn_local(async move {
                for _ in 0..share {
                    match path {
                        Path::Plain => ours::plain(&client).await,
                        Path::PlainLent => ours::plain_lent(&client).await,
                        Path::Write => ours::write(&client, caller).await,
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Counter {
    sent: AtomicU64,
    received: AtomicU64,
    writes: AtomicU64,
}

/// A network whose connections count.
struct Counting {
    network: InProcess,
    counter: Arc<Counter>,
}

impl Connector for Counting {
    fn connect<'a>(&'a self, address: &'a str) -> TransportFuture<'a, Box<dyn Io>> {
        Box::pin(async move {
            let io = self.network.connect(address).await?;
            Ok(Box::new(Counted { io, counter: Arc::clone(&self.counter) }) as Box<dyn Io>)
        })
    }
}

struct Counted {
    io: Box<dyn Io>,
    counter: Arc<Counter>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.counter.received.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.counter.sent.fetch_add(written as u64, Ordering::Relaxed);
            self.counter.writes.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
