//! A method on a pointer to the service.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(self: std::sync::Arc<Self>, tx: &mut Tx) -> Result<(), String>;
}

fn main() {}
