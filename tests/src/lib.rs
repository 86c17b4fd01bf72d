//! What the tests of this project share.

pub mod conformance;
pub mod contention;
pub mod disk;
pub mod model;
#[cfg(feature = "couchbase")]
pub mod node;
#[cfg(feature = "couchbase")]
pub mod own_scope;
pub mod simulated;
pub mod world;
