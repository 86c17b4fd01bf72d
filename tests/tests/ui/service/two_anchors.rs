//! Two documents that would carry the record.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn transfer(&self, tx: &mut Tx, #[anchor] from: String, #[anchor] to: String) -> Result<(), String>;
}

fn main() {}
