//! An anchor on a read.
use rpc::View;

#[rpc::service]
pub trait Bank {
    async fn balance(&self, view: &View, #[anchor] name: String) -> Result<u64, String>;
}

fn main() {}
