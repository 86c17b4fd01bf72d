//! An alias that hides a `Result`: its errors would pass for successes.

use rpc::Tx;

type Answer = Result<(), String>;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String) -> Answer;
}

fn main() {}
