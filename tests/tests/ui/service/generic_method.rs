//! A method with a type parameter.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open<N: Into<String> + Send>(&self, tx: &mut Tx, name: N) -> Result<(), String>;
}

fn main() {}
