//! A method that is not async.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
