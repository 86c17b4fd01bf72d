//! A comment on an argument.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(
        &self,
        tx: &mut Tx,
        /// Who opens it.
        name: String,
    ) -> Result<(), String>;
}

fn main() {}
