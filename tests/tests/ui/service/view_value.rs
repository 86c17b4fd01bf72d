//! A view given away.
use rpc::View;

#[rpc::service]
pub trait Bank {
    async fn balance(&self, view: View, name: String) -> Result<u64, String>;
}

fn main() {}
