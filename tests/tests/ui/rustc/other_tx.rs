//! A transaction of another make is reported where it stands.

pub struct Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

fn main() {}
