//! Arguments that borrow otherwise than as a whole and for the call alone.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: &'static str) -> Result<(), String>;
    async fn load(&self, tx: &mut Tx, names: &mut Vec<String>) -> Result<(), String>;
    async fn list(&self, tx: &mut Tx, names: Vec<&'static str>) -> Result<(), String>;
    async fn find(&self, tx: &mut Tx, names: &[&str]) -> Result<(), String>;
    async fn read(&self, tx: &mut Tx, from: &dyn std::fmt::Display) -> Result<(), String>;
}

fn main() {}
