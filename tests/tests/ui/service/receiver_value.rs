//! A method that takes the service away.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
