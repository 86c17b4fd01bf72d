//! A receiver with a lifetime of its own.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open<'a>(&'a self, tx: &mut Tx) -> Result<(), String>;
}

fn main() {}
