//! The Couchbase store. All but the conformance suite runs on the test node; the suite runs on a
//! real cluster if there is one, see `conformance.rs`.

mod adapter;
mod conformance;
mod driver;
mod program;
mod tls;
