//! Arguments that cannot be encoded.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: Box<dyn ToString + Send>) -> Result<(), String>;
    async fn call(&self, tx: &mut Tx, back: fn(u8) -> u8) -> Result<(), String>;
}

fn main() {}
