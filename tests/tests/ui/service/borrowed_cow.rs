//! A type with a lifetime.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: std::borrow::Cow<'_, str>) -> Result<(), String>;
}

fn main() {}
