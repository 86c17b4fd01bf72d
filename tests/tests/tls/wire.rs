//! A network within the process, below TLS, whose connections can be cut and whose bytes be garbled.

use std::sync::{Arc, Mutex};

use rpc::transport::{Connector, InProcess, Io, TransportFuture};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex, split};
use tokio::sync::watch;

/// What a direction holds before its writer waits.
const BUFFER_BYTES: usize = 16 << 10;

/// Connects to servers of an in-process network over wires that can fail.
#[derive(Clone)]
pub(crate) struct Wire {
    network: InProcess,
    /// Counts the times that all connections were cut.
    cuts: watch::Sender<u64>,
    /// How many connections were made.
    made: watch::Sender<u64>,
    /// What passes on bytes.
    trouble: Arc<Mutex<Option<Trouble>>>,
    buffer_bytes: usize,
}

/// Trouble by chance, with each piece of bytes that passes.
#[derive(Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) seed: u64,
    /// One of so many is the last.
    pub(crate) cut_one_of: u32,
    /// In one of so many a bit changes.
    pub(crate) garble_one_of: u32,
}

impl Wire {
    pub(crate) fn new(network: &InProcess) -> Wire {
        Wire {
            network: network.clone(),
            cuts: watch::Sender::new(0),
            made: watch::Sender::new(0),
            trouble: Arc::default(),
            buffer_bytes: BUFFER_BYTES,
        }
    }

    /// One that takes so few bytes before its writer must wait.
    pub(crate) fn narrow(mut self, bytes: usize) -> Wire {
        self.buffer_bytes = bytes;
        self
    }

    /// Makes trouble on the connections that are made from now on; none, for `None`.
    pub(crate) fn trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap() = trouble;
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many connections were made so far.
    pub(crate) fn made(&self) -> u64 {
        *self.made.borrow()
    }
}

impl Connector for Wire {
    fn connect<'a>(&'a self, address: &'a str) -> TransportFuture<'a, Box<dyn Io>> {
        Box::pin(async move {
            let far = self.network.connect(address).await?;
            let (near, end) = duplex(self.buffer_bytes);
            self.made.send_modify(|made| *made += 1);
            let number = self.made();
            let ((from_near, to_near), (from_far, to_far)) = (split(end), split(far));
            let chance = |direction: u64| {
                let trouble = *self.trouble.lock().unwrap();
                trouble.map(|trouble| {
                    let seed = trouble.seed ^ (2 * number + direction).rotate_left(32);
                    (trouble, fastrand::Rng::with_seed(seed))
                })
            };
            let (there, back) = (chance(0), chance(1));
            let mut cuts = self.cuts.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    () = pass(from_near, to_far, there) => {}
                    () = pass(from_far, to_near, back) => {}
                    _ = cuts.changed() => {}
                }
            });
            Ok(Box::new(near) as Box<dyn Io>)
        })
    }
}

/// Passes on what comes, until there is no more, or trouble.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut chance: Option<(Trouble, fastrand::Rng)>,
) {
    let mut piece = [0; 512];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let mut bytes = &mut piece[..count];
        let mut is_last = false;
        if let Some((trouble, chance)) = &mut chance {
            if chance.u32(..trouble.garble_one_of) == 0 {
                bytes[chance.usize(..count)] ^= 1 << chance.u8(..8);
            }
            if chance.u32(..trouble.cut_one_of) == 0 {
                is_last = true;
                bytes = &mut bytes[..chance.usize(..count)];
            }
        }
        if to.write_all(bytes).await.is_err() || is_last {
            return;
        }
    }
}
