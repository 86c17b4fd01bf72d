//! A method that spells its future out.
use rpc::Tx;

#[rpc::service]
pub trait Bank {
    fn open(&self, tx: &mut Tx) -> impl Future<Output = Result<(), String>> + Send;
}

fn main() {}
