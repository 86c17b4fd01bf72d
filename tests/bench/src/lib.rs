//! Measures calls over TCP loopback: this system, its peers, and two hand-written limits, in one
//! run.
//!
//! The work of every contender: request `{from: 16 bytes, to: 16 bytes, amount}`, response `{id,
//! balance}`; client and server in processes of their own, each pinned to a core, one connection.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `cli.rs` | the command line |
//! | `work.rs` | the contenders, and what each does to serve and to call |
//! | `contender/` | a file for each contender |
//! | `generated/` | code that the generators of two peers made |
//! | `load.rs` | the loop that loads a server |
//! | `process.rs` | servers and clients as processes of their own |
//! | `usage.rs` | what a process has used so far |
//! | `relay.rs`, `syscalls.rs`, `instructions.rs` | bytes, system calls and instructions, counted from outside |
//! | `counted.rs` | what of a run's count is a call's |
//! | `table/` | interleaved rounds, medians, tables, verdicts |
//! | `durable/` | group commit beside the engine |
//! | `growth/` | more connections, documents, records; memory |
//! | `tail/` | a slow server, hedged; overload |
//! | `failover/` | a server's death |
//! | `restate/` | beside Restate |
//! | `build_cost.rs` | a minimal service, built from nothing |
//! | `hot_path.rs` | the hot paths, without a network |
//! | `guard.rs` | what a call costs on them, beside a committed baseline |
//! | `svg.rs` | plots |

mod build_cost;
mod cli;
mod contender;
mod counted;
mod durable;
#[cfg(feature = "failover")]
mod failover;
mod growth;
pub mod guard;
pub mod hot_path;
mod instructions;
mod load;
mod process;
mod relay;
mod restate;
mod svg;
mod syscalls;
mod table;
mod tail;
mod usage;
mod work;

#[cfg(feature = "peers")]
#[rustfmt::skip]
#[allow(unreachable_pub, missing_docs, clippy::all, reason = "generated")]
#[path = "generated/work_capnp.rs"]
mod work_capnp;
#[cfg(feature = "peers")]
#[rustfmt::skip]
#[allow(unreachable_pub, missing_docs, clippy::all, reason = "generated")]
#[path = "generated/work_thrift.rs"]
mod work_thrift;

pub use self::cli::run;
