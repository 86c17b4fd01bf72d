//! An argument without a type.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: impl Into<String> + Send) -> Result<(), String>;
}

fn main() {}
