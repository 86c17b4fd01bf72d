//! A type that only the server has.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn merge(&self, tx: &mut Tx, other: Vec<Self>) -> Result<(), String>
    where
        Self: Sized;
}

fn main() {}
