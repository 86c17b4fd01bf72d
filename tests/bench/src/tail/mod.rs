//! The tail of the latency: a server that is slow at times, with hedging and without; and more
//! calls than the servers can do.
//!
//! The work of a call is to wait, as for a disk or another service, and then to write to one of
//! many accounts. So the figures are those of the protocol and not of this machine's cores. Calls
//! are made by the clock, whether the earlier ones have ended or not, and timed from when they were
//! due.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the command, and the worker |
//! | `open_loop.rs` | calls made by the clock |
//! | `hedging.rs` | one of three servers is slow at times |
//! | `overload.rs` | twice as many calls as can be done, and what comes after |

mod hedging;
mod open_loop;
mod overload;

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc::Tx;
use tokio::sync::Semaphore;

use crate::contender::ours::{Account, Name, Receipt, Work, add};
use crate::table::load_average;

/// What `tail` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds of each case, one after the other; their calls are counted together.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// How long a case takes in each round.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How long each of the three steps of a call's work waits at most, in milliseconds; at least 1.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    work: u64,
}

/// Measures and prints tables as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("Load of the last minute before: {}.\n", load_average());
    runtime.block_on(hedging::run(arguments))?;
    runtime.block_on(overload::run(arguments))
}

/// Waits, then writes.
struct Waiting {
    /// How many milliseconds each of its three steps takes at most.
    step: u64,
    /// What share of the calls takes longer, and how long.
    slow: Option<(f64, Duration)>,
    random: Mutex<fastrand::Rng>,
    /// How many may wait at once; the others queue for their turn.
    places: Arc<Semaphore>,
}

impl Waiting {
    fn new(step: u64, places: usize, seed: u64) -> Waiting {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Waiting { step, slow: None, random, places: Arc::new(Semaphore::new(places)) }
    }

    fn draw(&self) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        match self.slow {
            Some((share, slow)) if random.f64() < share => slow,
            _ => Duration::from_millis((0..3).map(|_| random.u64(1..=self.step)).sum()),
        }
    }
}

impl Work for Waiting {
    async fn plain(&self, _from: String, _to: String, amount: u64) -> Receipt {
        Receipt { id: 7, balance: amount }
    }

    async fn plain_lent(&self, from: &str, to: &str, amount: u64) -> Receipt {
        self.plain(from.to_owned(), to.to_owned(), amount).await
    }

    async fn write(&self, tx: &mut Tx, from: Name, _to: String, amount: u64) -> Receipt {
        let _place = self.places.acquire().await;
        tokio::time::sleep(self.draw()).await;
        let account: Account = add(tx, &from, amount).await;
        Receipt { id: 7, balance: account.balance }
    }
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "**does not hold**" }
}
