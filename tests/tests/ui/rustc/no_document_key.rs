//! An anchor that names no document is reported at the user's type.

use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, #[anchor] name: u64) -> Result<(), String>;
}

fn main() {}
