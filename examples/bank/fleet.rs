//! The servers of a run: each on a thread and a runtime of its own, so that one can be stopped at
//! once, or stand still, without the others noticing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bank_business::{BankServer, BankService};
use rpc::store::Store;
use rpc::{Server, ServerStats};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::plan::{ServerEvent, ServerFault, ServerSchedule};
use crate::proxy::{Faults, count};
use crate::report::ServerTotals;

/// How long a server may take to get its own port back.
const REBIND_LIMIT: Duration = Duration::from_secs(10);

/// How long to wait between two tries at that.
const REBIND_PAUSE: Duration = Duration::from_millis(20);

/// All servers of a run over one store.
pub(crate) struct Fleet {
    store: Arc<dyn Store>,
    seats: Vec<Seat>,
    /// What servers did that have been stopped.
    past: ServerTotals,
}

/// One port, and the server that listens on it unless it is stopped.
struct Seat {
    address: SocketAddr,
    running: Option<Running>,
}

/// A server at work. Dropping `freeze` stops it.
struct Running {
    freeze: mpsc::UnboundedSender<Duration>,
    stats: Box<dyn Fn() -> ServerStats + Send + Sync>,
    gone: oneshot::Receiver<()>,
}

impl Fleet {
    /// Starts this many servers on free ports of this machine.
    pub(crate) async fn start(store: Arc<dyn Store>, servers: usize) -> Result<Fleet, Failure> {
        let mut seats = Vec::new();
        for _ in 0..servers {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let (address, running) =
                start(Arc::clone(&store), any).await.map_err(Failure::failed)?;
            seats.push(Seat { address, running: Some(running) });
        }
        Ok(Fleet { store, seats, past: ServerTotals::default() })
    }

    /// Where the servers listen, also those that are stopped.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.seats.iter().map(|seat| seat.address).collect()
    }

    /// Lets outages happen as scheduled until told to be quiet, then starts again what is stopped.
    pub(crate) async fn torment(
        mut self,
        schedule: ServerSchedule,
        faults: Arc<Faults>,
        mut quiet: oneshot::Receiver<()>,
    ) -> Result<Fleet, Failure> {
        let begin = Instant::now();
        let mut schedule = schedule.peekable();
        let mut returns: Vec<(Instant, usize)> = Vec::new();
        loop {
            let next_return = returns.iter().map(|(at, _)| *at).min();
            let next_event = schedule.peek().map(|event| begin + event.at);
            let next = next_return.into_iter().chain(next_event).min();
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = &mut quiet => break,
                () = wait => {}
            }
            if let Some(index) = returns.iter().position(|(at, _)| Some(*at) == next) {
                let (_, server) = returns.swap_remove(index);
                self.restart(server).await?;
            } else if let Some(event) = schedule.next() {
                self.suffer(event, &faults).await;
                if event.fault == ServerFault::Stop {
                    returns.push((begin + event.at + event.length, event.server));
                }
            }
        }
        for (_, server) in returns {
            self.restart(server).await?;
        }
        Ok(self)
    }

    /// What all servers did so far, those that were stopped among them.
    pub(crate) fn totals(&self) -> ServerTotals {
        let running = self.seats.iter().filter_map(|seat| seat.running.as_ref());
        running.fold(self.past, |sum, running| add(sum, (running.stats)()))
    }

    /// Stops all servers, and waits until their threads are gone.
    pub(crate) async fn stop(mut self) {
        for server in 0..self.seats.len() {
            self.stop_one(server).await;
        }
    }

    async fn suffer(&mut self, event: ServerEvent, faults: &Faults) {
        match event.fault {
            ServerFault::Stop => {
                count(&faults.stops);
                self.stop_one(event.server).await;
            }
            ServerFault::Freeze => {
                let Some(running) = &self.seats[event.server].running else { return };
                // A server that has ended by itself cannot freeze; the next start shows why.
                if running.freeze.send(event.length).is_ok() {
                    count(&faults.freezes);
                }
            }
        }
    }

    async fn stop_one(&mut self, server: usize) {
        let Some(running) = self.seats[server].running.take() else { return };
        let Running { freeze, stats, gone } = running;
        drop(freeze);
        // Its end is an error for whoever waits: the sender is dropped with the thread.
        let _ = gone.await;
        self.past = add(self.past, stats());
    }

    async fn restart(&mut self, server: usize) -> Result<(), Failure> {
        let address = self.seats[server].address;
        let give_up = Instant::now() + REBIND_LIMIT;
        loop {
            match start(Arc::clone(&self.store), address).await {
                Ok((_, running)) => {
                    self.seats[server].running = Some(running);
                    return Ok(());
                }
                Err(error) if Instant::now() > give_up => return Err(Failure::failed(error)),
                Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
            }
        }
    }
}

/// Starts a server on a thread of its own. Returns once it listens.
async fn start(
    store: Arc<dyn Store>,
    address: SocketAddr,
) -> Result<(SocketAddr, Running), String> {
    let (ready, started) = oneshot::channel();
    let (freeze, freezes) = mpsc::unbounded_channel();
    let (alive, gone) = oneshot::channel();
    let thread = thread::Builder::new().name(format!("bank server {address}"));
    let body = move || {
        run(store, address, ready, freezes);
        drop(alive);
    };
    thread.spawn(body).map_err(|error| format!("no thread for a server: {error}"))?;
    let (address, stats) =
        started.await.map_err(|_| "a server ended at its start".to_owned())??;
    Ok((address, Running { freeze, stats, gone }))
}

/// What a starting server answers with: where it listens, and what it counts.
type Started = Result<(SocketAddr, Box<dyn Fn() -> ServerStats + Send + Sync>), String>;

/// The life of a server. Its runtime ends with it: whatever ran there is gone at once, as if the
/// process had been killed.
fn run(
    store: Arc<dyn Store>,
    address: SocketAddr,
    ready: oneshot::Sender<Started>,
    mut freezes: mpsc::UnboundedReceiver<Duration>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(format!("no runtime for a server: {error}")));
            return;
        }
    };
    runtime.block_on(async {
        let service = BankServer::new(BankService);
        let server = match Server::builder(service, store).bind(address).await {
            Ok(server) => server,
            Err(error) => {
                let _ = ready.send(Err(error.to_string()));
                return;
            }
        };
        let handle = server.handle();
        let _ = ready.send(Ok((server.local_addr(), Box::new(move || handle.stats()))));
        let mut serving = std::pin::pin!(server.serve());
        loop {
            tokio::select! {
                _ = &mut serving => return,
                freeze = freezes.recv() => match freeze {
                    // The thread itself stands still: nothing is read, no timer fires.
                    Some(length) => thread::sleep(length),
                    None => return,
                },
            }
        }
    });
    runtime.shutdown_background();
}

fn add(sum: ServerTotals, more: ServerStats) -> ServerTotals {
    ServerTotals {
        requests: sum.requests + more.requests,
        replayed_from_table: sum.replayed_from_table + more.replayed_from_table,
        replayed_from_record: sum.replayed_from_record + more.replayed_from_record,
        aborted: sum.aborted + more.aborts,
        refused: sum.refused + more.refused,
    }
}
