//! The bad network: a proxy between one client and one server that loses and delays messages and
//! cuts connections, as the plan says.
//!
//! It works on whole frames of the stream, in each direction on its own. What it delivers, it
//! delivers in order, as TCP does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::frames::FrameSplitter;
use crate::plan::{Dice, Fate, FaultPlan, Lane};

/// How many bytes are asked for at a time.
const READ_BYTES: usize = 16 * 1024;

/// A proxy that runs until it is dropped, and its connections with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

/// Whether faults are on, and how many there were: shared by all that make them.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    calm: AtomicBool,
    /// Messages that were lost.
    pub(crate) dropped: AtomicU64,
    /// Messages that were late.
    pub(crate) delayed: AtomicU64,
    /// Connections that were cut between two messages.
    pub(crate) cut: AtomicU64,
    /// Connections that were cut within a message.
    pub(crate) cut_mid_frame: AtomicU64,
    /// Servers that were stopped.
    pub(crate) stops: AtomicU64,
    /// Servers that were frozen.
    pub(crate) freezes: AtomicU64,
    /// Connections whose bytes were no frames: none, unless proxy and protocol disagree.
    pub(crate) unreadable: AtomicU64,
}

/// How many faults there were, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FaultCounts {
    /// Messages that were lost.
    pub(crate) messages_dropped: u64,
    /// Messages that were late.
    pub(crate) messages_delayed: u64,
    /// Connections that were cut between two messages.
    pub(crate) connections_cut: u64,
    /// Connections that were cut within a message.
    pub(crate) connections_cut_mid_message: u64,
    /// Servers that were stopped.
    pub(crate) servers_stopped: u64,
    /// Servers that were frozen.
    pub(crate) servers_frozen: u64,
    /// Connections whose bytes were no frames.
    pub(crate) connections_unreadable: u64,
}

/// Between which two a proxy stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The client's number.
    pub(crate) client: usize,
    /// The server's number.
    pub(crate) server: usize,
    /// Where the server listens.
    pub(crate) target: SocketAddr,
}

impl Faults {
    /// From now on nothing goes wrong any more.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Whether nothing goes wrong any more.
    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// How many there were so far.
    pub(crate) fn counts(&self) -> FaultCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FaultCounts {
            messages_dropped: read(&self.dropped),
            messages_delayed: read(&self.delayed),
            connections_cut: read(&self.cut),
            connections_cut_mid_message: read(&self.cut_mid_frame),
            servers_stopped: read(&self.stops),
            servers_frozen: read(&self.freezes),
            connections_unreadable: read(&self.unreadable),
        }
    }
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Proxy {
    /// Starts a proxy on a free port of this machine.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn start(
        link: Link,
        plan: Arc<FaultPlan>,
        faults: Arc<Faults>,
    ) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, link, plan, faults));
        Ok(Proxy { address, accepting })
    }

    /// Where the client connects.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts until it is aborted; its connections end with it.
async fn accept(listener: TcpListener, link: Link, plan: Arc<FaultPlan>, faults: Arc<Faults>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept (a connection gone again, no descriptor free) says nothing of
                // the next.
                let Ok((client, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let dice = |upstream| {
                    let Link { client, server, .. } = link;
                    plan.dice(Lane { client, server, connection: number, upstream })
                };
                let (up, down) = (dice(true), dice(false));
                number += 1;
                connections.spawn(relay(client, link.target, up, down, Arc::clone(&faults)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Relays one connection until either side ends it, or the plan does.
async fn relay(client: TcpStream, target: SocketAddr, up: Dice, down: Dice, faults: Arc<Faults>) {
    // A server that is down refuses; so then does the proxy, by closing.
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Without it the kernel would hold small messages back, which the plan did not ask for.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = pump(from_client, to_server, up, &faults) => {}
        _ = pump(from_server, to_client, down, &faults) => {}
    }
}

/// Relays one direction. However it ends, the connection is over.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut dice: Dice,
    faults: &Faults,
) -> io::Result<()> {
    let mut frames = FrameSplitter::default();
    loop {
        frames.buffer().reserve(READ_BYTES);
        if from.read_buf(frames.buffer()).await? == 0 {
            return Ok(());
        }
        loop {
            let frame = match frames.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => {
                    count(&faults.unreadable);
                    return Ok(());
                }
            };
            let fate = dice.roll(frame.len());
            match if faults.is_calm() { Fate::Forward } else { fate } {
                Fate::Forward => to.write_all(&frame).await?,
                Fate::Drop => count(&faults.dropped),
                Fate::Delay(late) => {
                    count(&faults.delayed);
                    tokio::time::sleep(late).await;
                    to.write_all(&frame).await?;
                }
                Fate::Cut(kept) => {
                    let within = kept > 0 && kept < frame.len();
                    count(if within { &faults.cut_mid_frame } else { &faults.cut });
                    return to.write_all(&frame[..kept]).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Rate;

    /// A client's and a server's end with a proxy between them.
    async fn connected(plan: FaultPlan, faults: &Arc<Faults>) -> (Proxy, TcpStream, TcpStream) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let link = Link { client: 0, server: 0, target: server.local_addr().unwrap() };
        let proxy = Proxy::start(link, Arc::new(plan), Arc::clone(faults)).await.unwrap();
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (accepted, _) = server.accept().await.unwrap();
        (proxy, client, accepted)
    }

    fn messages(count: u8) -> Vec<Vec<u8>> {
        (0..count).map(|number| vec![2, number, number]).collect()
    }

    /// Sends the messages through a proxy of this plan; returns what arrived before the end.
    async fn sent(plan: FaultPlan, messages: &[Vec<u8>], faults: &Arc<Faults>) -> Vec<u8> {
        let (_proxy, mut client, mut server) = connected(plan, faults).await;
        for message in messages {
            if client.write_all(message).await.is_err() {
                break;
            }
        }
        let _ = client.shutdown().await;
        let mut arrived = Vec::new();
        let _ = server.read_to_end(&mut arrived).await;
        arrived
    }

    #[tokio::test]
    async fn a_calm_proxy_forwards_everything_both_ways() {
        let faults = Arc::new(Faults::default());
        let (_proxy, mut client, mut server) = connected(FaultPlan::calm(1), &faults).await;
        for message in messages(50) {
            let mut arrived = vec![0; message.len()];
            client.write_all(&message).await.unwrap();
            server.read_exact(&mut arrived).await.unwrap();
            assert_eq!(arrived, message);
            server.write_all(&message).await.unwrap();
            client.read_exact(&mut arrived).await.unwrap();
            assert_eq!(arrived, message);
        }
        assert_eq!(faults.counts(), FaultCounts::default());
    }

    #[tokio::test]
    async fn messages_are_lost_whole_and_counted() {
        let faults = Arc::new(Faults::default());
        let plan = FaultPlan { drop: Rate::new(0.3).unwrap(), ..FaultPlan::calm(5) };
        let arrived = sent(plan, &messages(100), &faults).await;
        let dropped = faults.counts().messages_dropped;
        assert!(dropped > 0);
        assert_eq!(arrived.len() as u64, (100 - dropped) * 3);
        assert!(arrived.chunks(3).all(|frame| frame[0] == 2 && frame[1] == frame[2]));
        assert!(arrived.chunks(3).is_sorted_by_key(|frame| frame[1]));
    }

    #[tokio::test]
    async fn a_cut_ends_the_connection_also_within_a_message() {
        let faults = Arc::new(Faults::default());
        for seed in 0..20 {
            let plan = FaultPlan { cut: Rate::new(1.0).unwrap(), ..FaultPlan::calm(seed) };
            let arrived = sent(plan, &messages(1), &faults).await;
            assert!(arrived.len() <= 3);
        }
        let counts = faults.counts();
        assert_eq!(counts.connections_cut + counts.connections_cut_mid_message, 20);
        assert!(counts.connections_cut_mid_message > 0);
    }

    #[tokio::test]
    async fn delayed_messages_arrive_in_order() {
        let faults = Arc::new(Faults::default());
        let plan = FaultPlan {
            delay: Rate::new(0.5).unwrap(),
            delay_up_to: std::time::Duration::from_micros(200),
            ..FaultPlan::calm(2)
        };
        assert_eq!(sent(plan, &messages(60), &faults).await, messages(60).concat());
        assert!(faults.counts().messages_delayed > 0);
    }

    #[tokio::test]
    async fn bytes_that_are_no_frames_end_the_connection() {
        let faults = Arc::new(Faults::default());
        assert_eq!(sent(FaultPlan::calm(1), &[vec![0xff; 9]], &faults).await, b"");
        assert_eq!(faults.counts().connections_unreadable, 1);
    }

    #[tokio::test]
    async fn nothing_goes_wrong_once_it_is_calm() {
        let faults = Arc::new(Faults::default());
        faults.calm_down();
        let plan = FaultPlan { drop: Rate::new(1.0).unwrap(), ..FaultPlan::calm(1) };
        assert_eq!(sent(plan, &messages(20), &faults).await, messages(20).concat());
    }
}
