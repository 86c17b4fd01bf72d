//! Results whose error cannot be seen.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String) -> std::io::Result<()>;
    async fn show(&self) -> std::fmt::Result;
}

fn main() {}
