//! A constant in the trait.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    const LIMIT: u64;

    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
