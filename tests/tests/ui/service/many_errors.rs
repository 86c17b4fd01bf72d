//! Every mistake is reported at once, and the trait is still there: nothing is said about its
//! `impl`, its client or its server.

use rpc::{Tx, View};

#[rpc::service(nmae = "bank")]
pub trait Bank {
    async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
    async fn close(tx: &mut Tx, name: &str) -> Result<(), String>;
    async fn deposit(&self, #[key] amount: u64, tx: &mut Tx);
    async fn balance(&self, view: &mut View, #[anchor] (name, page): (String, u8)) -> Result<u64>;
    fn rename<N: Send>(&self, tx: Tx, name: N) -> Result<(), String>;
    const LIMIT: u64;
    async fn ping(&self) -> u8;
}

type Result<T, E = String> = std::result::Result<T, E>;

struct Ours;

impl Bank for Ours {
    async fn open(&self, _: &mut Tx, _: String) -> Result<(), String> {
        Ok(())
    }
    async fn close(_: &mut Tx, _: &str) -> Result<(), String> {
        Ok(())
    }
    async fn deposit(&self, _: u64, _: &mut Tx) {}
    async fn balance(&self, _: &mut View, (_, _): (String, u8)) -> Result<u64> {
        Ok(0)
    }
    fn rename<N: Send>(&self, _: Tx, _: N) -> Result<(), String> {
        Ok(())
    }
    const LIMIT: u64 = 1;
    async fn ping(&self) -> u8 {
        1
    }
}

async fn calls(bank: &BankClient) {
    let _ = bank.ping().await;
}

fn main() {
    let _ = BankServer::new(Ours);
    let _ = calls;
}
