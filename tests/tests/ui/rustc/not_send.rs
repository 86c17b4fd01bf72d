//! A future that cannot change threads is reported at the user's own method.

use rpc::Tx;

#[rpc::service]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
}

struct Ours;

impl Bank for Ours {
    async fn open(&self, _: &mut Tx, name: String) -> Result<(), String> {
        let name = std::rc::Rc::new(name);
        std::future::ready(()).await;
        Err(name.to_string())
    }
}

fn main() {}
