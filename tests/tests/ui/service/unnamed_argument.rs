//! An argument without a name.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, _: String) -> Result<(), String>;
}

fn main() {}
