//! What the tests of this project share.

pub mod conformance;
pub mod disk;
pub mod simulated;
pub mod world;
