//! A method at compile time.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    const fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
