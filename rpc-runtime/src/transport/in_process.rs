//! A network within the process: no ports, no kernel, the same runtime above it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::duplex;
use tokio::sync::mpsc;

use super::{Accepted, Connector, Io, Listener, TransportFuture};
use crate::id::Identity;

/// How many bytes a direction holds before its writer waits: what a socket buffer would.
const BUFFER_BYTES: usize = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: usize = 128;

/// A network within the process. Clones are the same network.
///
/// ```
/// use rpc::transport::{InProcess, Listener};
///
/// let network = InProcess::new();
/// let listener = network.listen("bank-1");
/// assert_eq!(listener.address(), "bank-1");
/// ```
#[derive(Clone, Debug, Default)]
pub struct InProcess {
    listeners: Arc<Mutex<HashMap<String, Door>>>,
}

/// Where the connections to one name go in.
type Door = mpsc::Sender<Box<dyn Io>>;

/// One name on an [`InProcess`] network; the name is free again when this is dropped.
#[derive(Debug)]
pub struct InProcessListener {
    name: String,
    incoming: mpsc::Receiver<Box<dyn Io>>,
}

impl InProcess {
    /// A network on which nobody listens.
    #[must_use]
    pub fn new() -> InProcess {
        InProcess::default()
    }

    /// Listens under a name, in place of whoever listened there before.
    pub fn listen(&self, name: &str) -> InProcessListener {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        self.lock().insert(name.to_owned(), sender);
        InProcessListener { name: name.to_owned(), incoming }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Door>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector for InProcess {
    fn connect<'a>(&'a self, address: &'a str) -> TransportFuture<'a, Box<dyn Io>> {
        Box::pin(async move {
            let refused = || {
                let message = format!("nobody listens as `{address}` on this in-process network");
                io::Error::new(io::ErrorKind::ConnectionRefused, message)
            };
            let listener = self.lock().get(address).cloned().ok_or_else(refused)?;
            let (near, far) = duplex(BUFFER_BYTES);
            listener.send(Box::new(far)).await.map_err(|_| refused())?;
            Ok(Box::new(near) as Box<dyn Io>)
        })
    }
}

impl Listener for InProcessListener {
    fn accept(&mut self) -> TransportFuture<'_, Accepted> {
        Box::pin(async move {
            match self.incoming.recv().await {
                Some(io) => Ok(Accepted::open(io, Identity::anonymous(), self.name.clone())),
                // Another listener has taken the name: nobody will ever come here again.
                None => std::future::pending().await,
            }
        })
    }

    fn address(&self) -> String {
        self.name.clone()
    }
}
