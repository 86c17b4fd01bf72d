//! A method that does not say what it returns.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String);
}

fn main() {}
