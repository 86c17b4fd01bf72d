//! An argument that is `mut` in the trait.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, mut name: String) -> Result<(), String>;
}

fn main() {}
