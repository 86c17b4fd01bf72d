//! A method that is written in the trait.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String> {
        let _ = (tx, name);
        Ok(())
    }
}

fn main() {}
