//! A method with a lifetime.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open<'a>(&self, tx: &mut Tx, name: std::borrow::Cow<'a, str>) -> Result<(), String>;
}

fn main() {}
