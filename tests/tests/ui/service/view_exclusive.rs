//! A view to be changed.
use rpc::View;

#[rpc::service]
pub trait Bank {
    async fn balance(&self, view: &mut View, name: String) -> Result<u64, String>;
}

fn main() {}
