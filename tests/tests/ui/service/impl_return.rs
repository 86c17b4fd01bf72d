//! A result without a type.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String) -> impl ToString;
}

fn main() {}
