//! Arguments that borrow.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: &str) -> Result<(), String>;
    async fn load(&self, tx: &mut Tx, names: &[String]) -> Result<(), String>;
    async fn list(&self, tx: &mut Tx, names: Vec<&'static str>) -> Result<(), String>;
}

fn main() {}
