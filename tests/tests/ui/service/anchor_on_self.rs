//! An anchor on the service.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(#[anchor] &self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
