//! An unsafe method.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async unsafe fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
