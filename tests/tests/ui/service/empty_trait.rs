//! A service that offers nothing.

#[rpc::service]
pub trait Bank {}

fn main() {}
