//! Many clients in one process, each with a connection of its own, and one load for all of them.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use crate::contender::limit;
use crate::contender::ours::{self, WorkClient, account_name};
use crate::load::drive;

/// Connections that are made at once: below what a listener's queue holds.
const CONNECTING: usize = 64;

/// What a crowd does.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    address: String,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    accounts: u64,
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    warm_up_millis: u64,
    /// Calls that each connection makes by itself before any is measured: the first ones make room
    /// that later ones find.
    #[arg(long)]
    first_calls: usize,
    #[arg(long)]
    pub(crate) core: usize,
    /// The hand-written client.
    #[arg(long)]
    bare: bool,
}

/// Makes calls whenever it is told to, and tells what they took. It keeps its connections until its input ends:
/// the end of thousands of them is work for the server, and no call's.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.bare { load_bare(arguments).await } else { load(arguments).await }
}

/// Connects, then makes writes by turns on all connections, to accounts drawn by chance.
async fn load(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let &Arguments { connections, accounts, in_flight, first_calls, .. } = arguments;
    let mut clients: Vec<WorkClient> = Vec::with_capacity(connections);
    while clients.len() < connections {
        let connecting = (0..CONNECTING.min(connections - clients.len())).map(|_| {
            let address = arguments.address.clone();
            tokio::task::spawn_local(async move {
                let client = ours::connect(&address).await.map_err(|error| error.to_string())?;
                for call in 0..first_calls {
                    ours::write_to(&client, account_name(call as u64 % accounts)).await;
                }
                Ok::<_, String>(client)
            })
        });
        for client in connecting.collect::<Vec<_>>() {
            clients.push(client.await??);
        }
    }
    let clients = Rc::new(Turns { of: clients, next: Cell::new(0) });
    let random = Rc::new(RefCell::new(fastrand::Rng::with_seed(1)));
    drive(in_flight, Duration::from_millis(arguments.warm_up_millis), |_| {
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
async fn load_bare(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut clients = Vec::with_capacity(arguments.connections);
    while clients.len() < arguments.connections {
        let client = limit::connect(&arguments.address).await?;
        for _ in 0..arguments.first_calls {
            limit::call(&client).await;
        }
        clients.push(client);
    }
    let clients = Rc::new(Turns { of: clients, next: Cell::new(0) });
    let warm_up = Duration::from_millis(arguments.warm_up_millis);
    drive(arguments.in_flight, warm_up, |_| {
        let clients = Rc::clone(&clients);
        async move || limit::call(clients.next()).await
    })
    .await
}
