//! A method with a visibility.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    pub async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
