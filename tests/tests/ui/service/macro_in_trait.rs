//! A macro in the trait.
use rpc::Tx;

macro_rules! more {
    () => {};
}

#[rpc::service]
pub trait Bank {
    more!();

    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
