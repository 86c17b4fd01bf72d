//! A transaction that cannot be changed.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &Tx, name: String) -> Result<(), String>;
}

fn main() {}
