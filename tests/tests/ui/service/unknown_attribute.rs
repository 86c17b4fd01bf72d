//! An attribute that means nothing here.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, #[key] name: String) -> Result<(), String>;
}

fn main() {}
