//! A model of the store protocol, and one of attempts and server tables, small enough to be exhausted: every state that servers, clients,
//! store and faults can get into is looked at.
//!
//! Steps are named like the functions of `rpc-runtime/src/store/cas` that do them; `docs/model.md`
//! has the table, what is in the model and what is not, and what it has found.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `state.rs` | the world |
//! | `run.rs` | one attempt of a call on a server |
//! | `plan.rs` | what a configuration consists of |
//! | `configs.rs` | the configurations |
//! | `bugs.rs` | the rules that can be left out, and the configurations that show it |
//! | `action.rs` | what can happen next |
//! | `machine.rs` | the model and its properties |
//! | `turn.rs` | one step of a run; conditional writes and how they end |
//! | `load.rs`, `commit.rs`, `conflict.rs`, `tidy.rs` | the steps, as in the code's files of these names |
//! | `client.rs` | clients and faults |
//! | `calls/` | a second model: attempts, server tables, acknowledgements, a client's journal |
//! | `normal.rs` | one form for states that cannot be told apart |
//! | `progress.rs` | that everything can finish, level by level |
//! | `depth.rs`, `fingerprint.rs` | all of that in little room, depth first |
//! | `check.rs` | exhausting a configuration |

mod action;
mod bugs;
mod calls;
mod check;
mod client;
mod commit;
mod configs;
mod conflict;
mod depth;
mod fingerprint;
mod load;
mod machine;
mod normal;
mod plan;
mod progress;
mod run;
mod state;
mod tidy;
mod turn;

pub use self::action::{Action, ChoreName, How, StepName};
pub use self::bugs::{SeededBug, bug_named, seeded_bugs};
pub use self::calls::{CallsAction, CallsConfig, Faults, World};
pub use self::check::{GaveUp, Limits, MAX_STATES, Report, Verdict, Violation, exhaust, find};
pub use self::configs::{Configuration, all, named};
pub use self::machine::Protocol;
pub use self::plan::{Bug, Config};
pub use self::state::{Budget, State};
