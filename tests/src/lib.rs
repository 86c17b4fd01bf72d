//! What the tests of this project share.

pub mod conformance;
pub mod contention;
pub mod disk;
#[cfg(feature = "couchbase")]
pub mod node;
pub mod simulated;
pub mod world;
