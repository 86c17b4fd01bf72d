//! A method of a foreign convention.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    extern "C" fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
