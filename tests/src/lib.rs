//! What the tests of this project share.

pub mod cas_chaos;
#[cfg(any(feature = "tls", feature = "couchbase"))]
pub mod certificates;
#[cfg(unix)]
pub mod chaos;
pub mod conformance;
pub mod contention;
pub mod crash_points;
pub mod disk;
pub mod disk_script;
pub mod history;
pub mod model;
#[cfg(feature = "couchbase")]
pub mod node;
#[cfg(feature = "couchbase")]
pub mod own_scope;
mod panics;
pub mod seeded_bugs;
pub mod sim;
pub mod simulated;
pub mod world;
