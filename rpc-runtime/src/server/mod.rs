//! The server: takes connections, runs calls, answers them.
//!
//! The way of one call: `connection.rs` reads its frame and asks the session's call table
//! (`crate::protocol::server`) what to do; `execute.rs` runs the business and commits; the table
//! takes the answer and encodes the response; `connection.rs` writes it.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`Server`] and its builder, the accept loop, graceful shutdown |
//! | `config.rs` | [`ServerConfig`], every limit |
//! | `handshake.rs` | the first frames of a connection, and its session |
//! | `connection.rs` | one connection after that |
//! | `outcome.rs` | how the end of a call reaches its session |
//! | `execute.rs` | from a decoded call to its outcome |
//! | `workspace.rs` | what a call is run with, and what its run leaves |
//! | `answer.rs` | what a run can come to |
//! | `sessions.rs` | the sessions that this server knows |
//! | `maintenance.rs` | leases, deadlines of sessions without connection, forgotten tables |
//! | `stats.rs` | what is counted |

mod answer;
mod config;
mod connection;
mod execute;
mod handshake;
mod maintenance;
mod outcome;
mod sessions;
mod stats;
mod workspace;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::ToSocketAddrs;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use self::config::ServerConfig;
use self::sessions::Sessions;
pub use self::stats::ServerStats;
use self::stats::{Counters, add};
use crate::clock::Clock;
use crate::service::{Service, ServiceSchema};
use crate::store::Store;
use crate::time::{WallClock, WallTime};
use crate::transport::{Accepted, Listener, TcpAcceptor};

/// A server of one service over one store.
///
/// Several servers over the same store are one service: any client may call any of them, and a
/// call that one of them did is known to all.
pub struct Server<S: Service> {
    shared: Arc<Shared<S>>,
    listener: Box<dyn Listener>,
}

/// A server in the making: see [`Server::builder`].
#[must_use = "a server takes no calls before it is bound and served"]
pub struct ServerBuilder<S: Service> {
    service: S,
    store: Arc<dyn Store>,
    config: ServerConfig,
    wall_clock: WallClock,
}

/// The server could not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose a free address of this machine")]
pub struct BindError {
    address: String,
    source: std::io::Error,
}

/// What all connections of a server share.
struct Shared<S> {
    service: Arc<S>,
    uses_anchors: bool,
    store: Arc<dyn Store>,
    config: ServerConfig,
    schema: ServiceSchema,
    /// By method id.
    method_names: Vec<&'static str>,
    clock: Clock,
    wall_clock: WallClock,
    sessions: Sessions,
    counters: Counters,
    /// Calls that run in tasks of their own.
    running: AtomicUsize,
    draining: AtomicBool,
    drain: Notify,
}

/// A look at a server while it serves.
#[derive(Clone)]
pub struct ServerHandle<S: Service> {
    shared: Arc<Shared<S>>,
}

/// What a server holds in memory for its clients, for tests that it is bounded.
#[cfg(feature = "test-util")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Sessions with a table, connected or not.
    pub sessions: usize,
    /// Calls that run.
    pub running: usize,
    /// Bytes of responses that are not acknowledged.
    pub response_bytes: usize,
}

impl<S: Service> ServerHandle<S> {
    /// What the server has done so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.shared.counters.read()
    }

    /// What the server holds in memory for its clients now.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        for session in self.shared.sessions.all() {
            session.with(|state| {
                held.sessions += 1;
                held.running += state.table.running();
                held.response_bytes += state.table.held();
            });
        }
        held
    }
}

impl<S: Service> Server<S> {
    /// Begins a server of `service` over `store`.
    pub fn builder(service: S, store: Arc<dyn Store>) -> ServerBuilder<S> {
        ServerBuilder {
            service,
            store,
            config: ServerConfig::default(),
            wall_clock: Box::new(WallTime::now),
        }
    }

    /// Where clients reach it: `host:port` on TCP.
    #[must_use]
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If it does not listen on TCP.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address().parse().expect("only a TCP server has a socket address")
    }

    /// A handle to look at the server while it serves.
    #[must_use]
    pub fn handle(&self) -> ServerHandle<S> {
        ServerHandle { shared: Arc::clone(&self.shared) }
    }

    /// Serves until the future is dropped, which stops the server at once: what runs is cut off,
    /// as by a crash, and no less safe.
    pub async fn serve(self) {
        self.serve_with_shutdown(std::future::pending()).await;
    }

    /// Serves until `shutdown` ends, then takes no more calls, tells clients to move on, finishes
    /// what runs (at most [`ServerConfig::shutdown_limit`] long) and returns.
    pub async fn serve_with_shutdown(mut self, shutdown: impl Future<Output = ()>) {
        let _stop = StopOnDrop(Arc::clone(&self.shared));
        let mut connections = JoinSet::new();
        let maintenance = maintenance::run(Arc::clone(&self.shared));
        let accepting = accept_all(&self.shared, &mut *self.listener, &mut connections);
        tokio::select! {
            biased;
            () = shutdown => {}
            () = accepting => {}
            () = maintenance => {}
        }
        drop(self.listener);
        self.shared.draining.store(true, Ordering::Release);
        self.shared.drain.notify_waiters();
        for session in self.shared.sessions.all() {
            session.with(|state| state.table.handle_draining());
            session.wake();
        }
        let finished = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.config.shutdown_limit, finished).await.is_err() {
            tracing::warn!("the shutdown limit has passed; what still ran is cut off");
        }
    }
}

impl<S: Service> ServerBuilder<S> {
    /// Sets the limits.
    pub fn config(mut self, config: ServerConfig) -> ServerBuilder<S> {
        self.config = config;
        self
    }

    /// Takes the time for leases and for the age of calls from another clock than this machine's.
    pub fn wall_clock(
        mut self,
        clock: impl Fn() -> WallTime + Send + Sync + 'static,
    ) -> ServerBuilder<S> {
        self.wall_clock = Box::new(clock);
        self
    }

    /// Listens on a TCP address; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address does not resolve, is in use, or is not this machine's.
    pub async fn bind(
        self,
        address: impl ToSocketAddrs + std::fmt::Debug,
    ) -> Result<Server<S>, BindError> {
        let shown = format!("{address:?}");
        match TcpAcceptor::bind(address).await {
            Ok(listener) => Ok(self.listen_on(listener)),
            Err(source) => Err(BindError { address: shown, source }),
        }
    }

    /// Takes connections from another transport.
    pub fn listen_on(self, listener: impl Listener) -> Server<S> {
        let schema = S::schema();
        let ids = schema.methods.iter().map(|method| usize::from(method.id.0));
        let mut method_names = vec![""; ids.max().map_or(0, |last| last + 1)];
        for method in &schema.methods {
            method_names[usize::from(method.id.0)] = method.name;
        }
        let shared = Arc::new(Shared {
            uses_anchors: self.store.uses_anchors(),
            service: Arc::new(self.service),
            store: self.store,
            config: self.config,
            schema,
            method_names,
            clock: Clock::new(),
            wall_clock: self.wall_clock,
            sessions: Sessions::default(),
            counters: Counters::default(),
            running: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            drain: Notify::new(),
        });
        Server { shared, listener: Box::new(listener) }
    }
}

/// Takes connections for ever. Trouble with one of them never ends the loop.
async fn accept_all<S: Service>(
    shared: &Arc<Shared<S>>,
    listener: &mut dyn Listener,
    connections: &mut JoinSet<()>,
) {
    loop {
        let accepted = match accept(listener, connections).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                // Out of file descriptors, most likely: trying again at once would only spin.
                tokio::time::sleep(shared.config.handshake_timeout / 1000).await;
                continue;
            }
        };
        add(&shared.counters.connections, 1);
        let full = connections.len() >= shared.config.max_connections;
        connections.spawn(handshake::serve(Arc::clone(shared), accepted, full));
    }
}

/// Takes the next connection, and lets go of those that end meanwhile: what an ended one still takes
/// is not to wait for the next client to come.
async fn accept(
    listener: &mut dyn Listener,
    connections: &mut JoinSet<()>,
) -> std::io::Result<Accepted> {
    // One future throughout: a listener need not bear to have its wait dropped.
    let mut accepted = listener.accept();
    loop {
        tokio::select! {
            biased;
            accepted = &mut accepted => return accepted,
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Cuts off what still runs when a server's future ends or is dropped.
struct StopOnDrop<S>(Arc<Shared<S>>);

impl<S> Drop for StopOnDrop<S> {
    fn drop(&mut self) {
        for session in self.0.sessions.all() {
            session.stop();
        }
    }
}

/// Running calls, counted for as long as this lives.
struct Counted<S> {
    shared: Arc<Shared<S>>,
    calls: usize,
}

impl<S: Service> Shared<S> {
    fn count_running(self: &Arc<Self>, calls: usize) -> Counted<S> {
        self.running.fetch_add(calls, Ordering::Relaxed);
        Counted { shared: Arc::clone(self), calls }
    }
}

impl<S> Counted<S> {
    fn add(&mut self, calls: usize) {
        self.shared.running.fetch_add(calls, Ordering::Relaxed);
        self.calls += calls;
    }

    fn release(&mut self, calls: usize) {
        self.shared.running.fetch_sub(calls, Ordering::Relaxed);
        self.calls -= calls;
    }
}

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(self.calls, Ordering::Relaxed);
    }
}

impl<S: Service> std::fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl<S: Service> std::fmt::Debug for ServerBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S: Service> std::fmt::Debug for ServerHandle<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerHandle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
