//! A method that wants the service for itself.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&mut self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
