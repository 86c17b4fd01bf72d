//! An argument that is taken apart.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, (name, age): (String, u8)) -> Result<(), String>;
}

fn main() {}
