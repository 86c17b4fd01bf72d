//! A network within the process whose every frame a script decides on.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rpc::id::Identity;
use rpc::testing::{Direction, inspect};
use rpc::transport::{Accepted, Connector, Io, Listener, TransportFuture};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::connection::Connection;
use super::frame::{Fate, Frame};
use super::trace::{Event, Trace};

/// A network on which a script decides what becomes of each frame. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    pub(super) inner: Arc<Mutex<Inner>>,
    /// Changes with every event.
    changes: watch::Sender<u64>,
}

pub(super) struct Inner {
    origin: Option<Instant>,
    script: Box<dyn FnMut(&Frame) -> Fate + Send>,
    trace: Trace,
    listeners: BTreeMap<String, mpsc::UnboundedSender<Box<dyn Io>>>,
    /// By client and server; the last is the current one.
    connections: BTreeMap<(String, String), Vec<Arc<Connection>>>,
    /// Servers that neither read nor write.
    frozen: watch::Sender<Vec<String>>,
    held: Vec<(Arc<Connection>, Direction, Vec<u8>)>,
}

impl Network {
    /// A network that delivers everything.
    #[must_use]
    pub fn new() -> Network {
        let inner = Inner {
            origin: None,
            script: Box::new(|_| Fate::Deliver),
            trace: Trace::default(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            frozen: watch::Sender::new(Vec::new()),
            held: Vec::new(),
        };
        Network { inner: Arc::new(Mutex::new(inner)), changes: watch::Sender::new(0) }
    }

    /// Lets `script` decide on every frame from now on.
    pub fn script(&self, script: impl FnMut(&Frame) -> Fate + Send + 'static) {
        self.lock().script = Box::new(script);
    }

    /// Delivers everything from now on.
    pub fn deliver_all(&self) {
        self.script(|_| Fate::Deliver);
    }

    /// What has happened so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.lock().trace.clone()
    }

    /// Writes a line into the trace.
    pub fn note(&self, text: impl Into<String>) {
        let mut inner = self.lock();
        let at = inner.now();
        inner.trace.push(Event::Note(at, text.into()));
        drop(inner);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits until the trace is as it should be.
    pub async fn until(&self, mut is_so: impl FnMut(&Trace) -> bool) {
        let mut changes = self.changes.subscribe();
        while !is_so(&self.lock().trace) {
            changes.changed().await.expect("the network outlives its users");
        }
        // Whoever gets the frame has had it when this returns.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Waits until a frame of a kind was sent.
    pub async fn until_sent(&self, mut is_meant: impl FnMut(&Frame) -> bool) {
        self.until(|trace| trace.find(&mut is_meant).is_some()).await;
    }

    /// Lets the frames arrive that were held, in their order.
    pub async fn release(&self) {
        let held = std::mem::take(&mut self.lock().held);
        self.note("released");
        for (connection, direction, bytes) in held {
            connection.write(direction, &bytes).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Stops all that goes to and comes from a server, until it is thawed: nothing is lost.
    pub fn freeze(&self, server: &str) {
        self.note(format!("{server} freezes"));
        self.lock().frozen.send_modify(|frozen| frozen.push(server.to_owned()));
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self, server: &str) {
        self.note(format!("{server} goes on"));
        self.lock().frozen.send_modify(|frozen| frozen.retain(|name| name != server));
    }

    /// Sends a frame once more on the current connection of its two ends.
    ///
    /// # Panics
    /// If they have none.
    pub async fn replay(&self, frame: &Frame) {
        self.replay_to(frame, &frame.server).await;
    }

    /// Sends a frame to another server, as if its client had sent it there.
    ///
    /// # Panics
    /// If the two have no connection.
    pub async fn replay_to(&self, frame: &Frame, server: &str) {
        self.note(format!("once more, to {server}: {frame}"));
        let connection = self.current(&frame.client, server).expect("they are connected");
        connection.write(frame.direction, &frame.bytes).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Breaks the connection of a client and a server.
    pub fn cut(&self, client: &str, server: &str) {
        if let Some(connection) = self.current(client, server) {
            self.note(format!("{client} and {server} are cut off"));
            connection.cut();
        }
    }

    /// Where a client connects.
    #[must_use]
    pub fn connector(&self, client: &str) -> Wire {
        Wire { network: self.clone(), client: client.to_owned() }
    }

    /// Listens as a server.
    #[must_use]
    pub fn listen(&self, server: &str) -> Door {
        let (sender, incoming) = mpsc::unbounded_channel();
        self.lock().listeners.insert(server.to_owned(), sender);
        Door { server: server.to_owned(), incoming }
    }

    /// Takes note of a frame and asks the script.
    pub(super) fn judge(
        &self,
        connection: &Connection,
        direction: Direction,
        bytes: &[u8],
    ) -> Fate {
        let view = inspect(bytes, direction).unwrap_or_else(|error| {
            panic!("{} and {} speak nonsense: {error}", connection.client, connection.server)
        });
        let mut inner = self.lock();
        let frame = Frame {
            at: inner.now(),
            client: connection.client.clone(),
            server: connection.server.clone(),
            connection: connection.number,
            direction,
            view,
            bytes: bytes.to_vec(),
        };
        let fate = (inner.script)(&frame);
        inner.trace.push(Event::Sent(frame, fate));
        drop(inner);
        self.changes.send_modify(|count| *count += 1);
        fate
    }

    pub(super) fn hold(&self, connection: &Arc<Connection>, direction: Direction, bytes: Vec<u8>) {
        self.lock().held.push((Arc::clone(connection), direction, bytes));
    }

    /// Waits while a server is frozen.
    pub(super) async fn while_frozen(&self, server: &str) {
        let mut frozen = self.lock().frozen.subscribe();
        let _network_is_gone =
            frozen.wait_for(|names| !names.iter().any(|name| name == server)).await;
    }

    fn current(&self, client: &str, server: &str) -> Option<Arc<Connection>> {
        let key = (client.to_owned(), server.to_owned());
        self.lock().connections.get(&key)?.last().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Network {
    fn default() -> Network {
        Network::new()
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Inner {
    fn now(&mut self) -> Duration {
        self.origin.get_or_insert_with(Instant::now).elapsed()
    }
}

/// One client's way onto a network.
#[derive(Clone, Debug)]
pub struct Wire {
    network: Network,
    client: String,
}

impl Connector for Wire {
    fn connect<'a>(&'a self, server: &'a str) -> TransportFuture<'a, Box<dyn Io>> {
        Box::pin(async move {
            let refused = || {
                io::Error::new(
                    io::ErrorKind::ConnectionRefused,
                    format!("{server} does not listen"),
                )
            };
            let key = (self.client.clone(), server.to_owned());
            let mut inner = self.network.lock();
            let listener = inner.listeners.get(server).cloned().ok_or_else(refused)?;
            let all = inner.connections.entry(key).or_default();
            let number = all.len() as u32 + 1;
            let (connection, near, far) =
                Connection::open(&self.network, &self.client, server, number);
            listener.send(far).map_err(|_| refused())?;
            all.push(connection);
            Ok(near)
        })
    }
}

/// One server's way onto a network.
#[derive(Debug)]
pub struct Door {
    server: String,
    incoming: mpsc::UnboundedReceiver<Box<dyn Io>>,
}

impl Listener for Door {
    fn accept(&mut self) -> TransportFuture<'_, Accepted> {
        Box::pin(async move {
            match self.incoming.recv().await {
                Some(io) => Ok(Accepted::open(io, Identity::anonymous(), self.server.clone())),
                // The server listens anew; nobody comes here any more.
                None => std::future::pending().await,
            }
        })
    }

    fn address(&self) -> String {
        self.server.clone()
    }
}
