//! Many clients in one process, each with a connection of its own, and one load for all of them.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use crate::contender::limit;
use crate::contender::ours::{self, WorkClient, account_name};
use crate::load::{Figures, drive};

/// Connections that are made at once: below what a listener's queue holds.
const CONNECTING: usize = 64;

/// Connects, then makes writes by turns on all connections, to accounts drawn by chance.
pub(crate) async fn load(
    address: &str,
    connections: usize,
    accounts: u64,
    in_flight: usize,
    time: Duration,
) -> Result<Figures, Box<dyn Error>> {
    let mut clients: Vec<WorkClient> = Vec::with_capacity(connections);
    while clients.len() < connections {
        let connecting = (0..CONNECTING.min(connections - clients.len())).map(|_| {
            let address = address.to_owned();
            tokio::task::spawn_local(async move {
                ours::connect(&address).await.map_err(|error| error.to_string())
            })
        });
        for client in connecting.collect::<Vec<_>>() {
            clients.push(client.await??);
        }
    }
    let clients = Rc::new(Turns { of: clients, next: Cell::new(0) });
    let random = Rc::new(RefCell::new(fastrand::Rng::with_seed(1)));
    drive(in_flight, time, |_| {
        let (clients, random) = (Rc::clone(&clients), Rc::clone(&random));
        async move || {
            let account = random.borrow_mut().u64(..accounts);
            ours::write_to(clients.next(), account_name(account)).await;
        }
    })
    .await
}

/// Connections that are used by turns.
struct Turns<C> {
    of: Vec<C>,
    next: Cell<usize>,
}

impl<C> Turns<C> {
    fn next(&self) -> &C {
        let next = self.next.get();
        self.next.set(next + 1);
        &self.of[next % self.of.len()]
    }
}

/// As [`load`], with the hand-written client.
pub(crate) async fn load_bare(
    address: &str,
    connections: usize,
    in_flight: usize,
    time: Duration,
) -> Result<Figures, Box<dyn Error>> {
    let mut clients = Vec::with_capacity(connections);
    while clients.len() < connections {
        clients.push(limit::connect(address).await?);
    }
    let clients = Rc::new(Turns { of: clients, next: Cell::new(0) });
    drive(in_flight, time, |_| {
        let clients = Rc::clone(&clients);
        async move || limit::call(clients.next()).await
    })
    .await
}
