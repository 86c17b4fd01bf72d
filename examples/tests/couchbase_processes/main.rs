//! Bank servers as processes that share a Couchbase bucket: killed, frozen, and back again.
#![cfg(unix)]

mod frozen;
mod killed;
mod processes;
