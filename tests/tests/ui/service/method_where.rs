//! A method that can be called only sometimes.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx) -> Result<(), String>
    where
        Self: Clone;
}

fn main() {}
