//! An anchor on the transaction.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, #[anchor] tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
