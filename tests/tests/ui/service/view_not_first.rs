//! A view behind an argument.

#[rpc::service]
pub trait Bank {
    async fn balance(&self, name: String, view: &rpc::View) -> Result<u64, String>;
}

fn main() {}
