//! The store with compare-and-swap, over simulated documents.
//!
//! | what is asked of it | file |
//! | --- | --- |
//! | what every store must do | `conformance.rs` |
//! | what a call costs | `operations.rs` |
//! | what contention costs | `contention.rs`, `turns.rs` |
//! | stages that somebody meets | `stages.rs` |
//! | leases, sessions, and what goes with them | `leases.rs`, `sessions.rs`, `tidy.rs` |
//! | interleavings that went wrong once | `regressions.rs` |
//! | many servers and faults, seed by seed | `chaos.rs` |

mod chaos;
mod conformance;
mod contention;
mod leases;
mod operations;
mod regressions;
mod sessions;
mod stages;
mod tidy;
mod turns;
