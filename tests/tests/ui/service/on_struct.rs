//! A service that is no trait.

#[rpc::service]
pub struct Bank;

fn main() {}
