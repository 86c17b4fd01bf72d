//! Real processes of the bank, with real faults: killed, frozen, on a disk that is full or fails.
//!
//! Servers and clients are this very program (`chaos serve`, `chaos client`). Clients write down each
//! call when it begins and when it ends; in the end the statements are read back, and
//! [`history::check`](crate::history::check) says whether one order of all calls explains both. `docs/testing-processes.md` says what it proves and
//! how to run it.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `storm.rs` | [`Storm`]: servers and clients killed and frozen at random |
//! | `steps.rs` | [`Enumeration`]: a short script, with a fault at one system call after the other |
//! | `power.rs` | [`power_cuts`]: what was not synced is gone |
//! | `heard.rs` | what clients say of their calls |
//! | `serve.rs`, `client.rs`, `process.rs` | the processes |
//! | `bank.rs`, `report.rs` | the bank as the judge uses it, and the judge's report |

mod bank;
pub mod client;
pub mod heard;
mod power;
mod process;
mod report;
pub mod serve;
mod steps;
mod storm;
mod strace;

pub use self::power::power_cuts;
pub use self::report::Report;
pub use self::steps::{Enumeration, FaultAt};
pub use self::storm::Storm;
pub use self::strace::strace_works;

/// What every account holds in the beginning, in cents.
const CENTS: u16 = 10_000;

/// Why a part could not be run; that is no verdict.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);
