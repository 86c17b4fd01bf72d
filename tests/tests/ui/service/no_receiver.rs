//! A method that is called on nothing.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
