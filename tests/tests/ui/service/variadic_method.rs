//! A method with as many arguments as one likes.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, names: ...) -> Result<(), String>;
}

fn main() {}
