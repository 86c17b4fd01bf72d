//! Whole worlds from a seed: the real clients and servers with the real bank, the real store
//! protocol on a simulated store, a simulated network and a simulated clock, and faults everywhere.
//!
//! ```
//! use rpc_tests::sim::{self, Settings};
//!
//! let outcome = sim::run(7, &Settings::default());
//! assert_eq!(outcome.violation, None);
//! assert_eq!(outcome.hash, sim::run(7, &Settings::default()).hash, "a seed is a world");
//! ```
//!
//! A world runs on the calling thread alone, on virtual time. `docs/testing-simulation.md` says what
//! it proves, and how to replay what it finds.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`run`] and what it returns |
//! | `plan.rs` | [`Plan`]: what is to happen, drawn from a seed |
//! | `fault.rs` | [`Fault`], [`Step`], and the [`Coverage`] of their pairs |
//! | `world.rs` | a world from its beginning to its end |
//! | `hub.rs` | what its parts share: time, dice, what is due, which fault strikes |
//! | `network.rs`, `socket.rs` | connections, cut into frames, each with its fate |
//! | `store.rs`, `steps.rs` | documents and operations, each with its fate; which step each is |
//! | `bank.rs`, `books.rs` | the real bank, and what its documents say in the end |
//! | `clients.rs`, `caller.rs`, `calls.rs` | the real clients, their callers, their calls |
//! | `journal.rs` | what clients remember that come back with memory |
//! | `sessions.rs` | nothing is executed for a session that is over; what else is checked stands in [`history`](crate::history) |
//! | `trace.rs` | what happened, as a sequence diagram |
//! | `shrink.rs` | [`shrink`]: a smaller plan that fails too |
//! | `totals.rs` | [`Totals`] of many worlds, and whether they are enough |
//! | `watchdog.rs` | who notices that a world spins |

mod bank;
mod books;
mod caller;
mod calls;
mod clients;
mod fault;
mod hub;
mod journal;
mod network;
mod plan;
mod sessions;
mod shrink;
mod socket;
mod steps;
mod store;
mod totals;
mod trace;
mod watchdog;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::calls::Made;
pub use self::fault::{Coverage, Fault, Step, pairs};
pub use self::plan::{CallPlan, ClientPlan, ComesBack, Plan, Rate, StoreKind, Trigger};
pub use self::shrink::{Shrunk, shrink};
pub use self::totals::Totals;
use crate::history::Ended;
use crate::panics;

/// How a world is run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Whether what happens is written down for the diagram.
    pub record: bool,
    /// The most steps that a world may take. Default 100,000: a hundred times what worlds take.
    pub max_steps: u64,
}

/// How a world went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What was wrong, if anything was.
    pub violation: Option<Violation>,
    /// A hash of all that happened.
    pub hash: u64,
    /// Which faults struck in which steps.
    pub coverage: Coverage,
    /// What happened, in numbers.
    pub figures: Figures,
    /// What happened, as a sequence diagram in mermaid's language, if it was recorded.
    pub diagram: String,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: &'static str,
    /// How.
    pub detail: String,
}

/// What happened in a world, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Calls that were made.
    pub calls: u64,
    /// Calls that were answered: done, read, or refused by the business.
    pub succeeded: u64,
    /// Calls that were not executed, and never will be.
    pub not_executed: u64,
    /// Calls that were dropped, or whose client died.
    pub abandoned: u64,
    /// Calls whose outcome nobody can tell any more, since their session has ended.
    pub lost: u64,
    /// Times that a caller was told that the outcome is not known yet.
    pub unknown: u64,
    /// Runs of the business.
    pub runs: u64,
    /// Runs that ended with a new record.
    pub recorded: u64,
    /// Results that were answered from a record or a table, without a run.
    pub replayed: u64,
    /// Stages that became bodies.
    pub rolled_forward: u64,
    /// Stages that were taken back.
    pub rolled_back: u64,
    /// Runs that were kept from committing.
    pub fences_won: u64,
    /// Attempts at that which came too late.
    pub fences_lost: u64,
    /// Sessions that were closed because their lease had ended.
    pub leases_ended: u64,
    /// Servers that died.
    pub server_crashes: u64,
    /// Servers that stood still.
    pub stalls: u64,
    /// Clients that died.
    pub client_crashes: u64,
    /// Calls that a client went on with in its next life.
    pub gone_on_with: u64,
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
    pub(crate) calm_since: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { record: false, max_steps: 100_000 }
    }
}

impl Settings {
    /// Writes down what happens, for the diagram.
    #[must_use]
    pub fn record(mut self, record: bool) -> Settings {
        self.record = record;
        self
    }

    /// Sets the most steps that a world may take.
    #[must_use]
    pub fn max_steps(mut self, steps: u64) -> Settings {
        self.max_steps = steps;
        self
    }
}

/// Runs the world of a seed.
#[must_use]
pub fn run(seed: u64, settings: &Settings) -> Outcome {
    run_plan(&Plan::of(seed), settings)
}

/// Runs the world of a plan.
///
/// # Panics
/// If no runtime can be made.
#[must_use]
pub fn run_plan(plan: &Plan, settings: &Settings) -> Outcome {
    let before = panics::count();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_unpark(hub::time_has_passed)
            .build()
            .expect("a runtime without I/O can always be made");
        // In a box, since the runtime moves what it returns each time that it polls for it.
        runtime.block_on(async { Box::new(world::run(plan, settings).await) })
    }));
    let mut outcome = ran.map_or_else(
        |_| Outcome {
            violation: None,
            hash: 0,
            coverage: Coverage::default(),
            figures: Figures::default(),
            diagram: String::new(),
        },
        |outcome| *outcome,
    );
    if panics::count() != before && outcome.violation.is_none() {
        let detail = panics::last().unwrap_or_default();
        outcome.violation = Some(Violation { rule: "nothing panics", detail });
    }
    outcome
}

impl Figures {
    /// Adds the figures of another world.
    pub fn add(&mut self, other: &Figures) {
        let Figures { calls, succeeded, not_executed, abandoned, lost, unknown, .. } = other;
        self.calls += calls;
        self.succeeded += succeeded;
        self.not_executed += not_executed;
        self.abandoned += abandoned;
        self.lost += lost;
        self.unknown += unknown;
        self.runs += other.runs;
        self.recorded += other.recorded;
        self.replayed += other.replayed;
        self.rolled_forward += other.rolled_forward;
        self.rolled_back += other.rolled_back;
        self.fences_won += other.fences_won;
        self.fences_lost += other.fences_lost;
        self.leases_ended += other.leases_ended;
        self.server_crashes += other.server_crashes;
        self.stalls += other.stalls;
        self.client_crashes += other.client_crashes;
        self.gone_on_with += other.gone_on_with;
        self.virtual_ms += other.virtual_ms;
    }

    fn count_calls(&mut self, calls: &[Made]) {
        for call in calls.iter().filter(|call| call.invoked.is_some()) {
            self.calls += 1;
            match &call.ended {
                Some(
                    Ended::Done { .. }
                    | Ended::Balance(_)
                    | Ended::Page(_)
                    | Ended::Last(_)
                    | Ended::No(_),
                ) => {
                    self.succeeded += 1;
                }
                Some(Ended::NotExecuted(_)) => self.not_executed += 1,
                Some(Ended::Lost(_)) => self.lost += 1,
                Some(Ended::Dropped | Ended::Crashed) | None => self.abandoned += 1,
            }
        }
    }
}
