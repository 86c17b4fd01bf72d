//! An anchor on a method.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    #[anchor]
    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
