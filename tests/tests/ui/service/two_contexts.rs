//! A transaction and a view.
use rpc::{Tx, View};

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, view: &View, name: String) -> Result<(), String>;
}

fn main() {}
