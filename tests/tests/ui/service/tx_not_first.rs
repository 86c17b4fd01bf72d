//! A transaction behind an argument.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, name: String, tx: &mut Tx) -> Result<(), String>;
}

fn main() {}
