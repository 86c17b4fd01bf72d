//! Two methods of one name.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
    async fn open(&self, name: String) -> Result<(), String>;
}

fn main() {}
