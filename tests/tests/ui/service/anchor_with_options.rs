//! An anchor with options.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, #[anchor(first)] name: String) -> Result<(), String>;
}

fn main() {}
