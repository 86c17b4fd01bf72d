//! A type in the trait.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    type Name;

    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
