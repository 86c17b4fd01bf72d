//! A method with a const parameter.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open<const N: usize>(&self, tx: &mut Tx, name: [u8; N]) -> Result<(), String>;
}

fn main() {}
