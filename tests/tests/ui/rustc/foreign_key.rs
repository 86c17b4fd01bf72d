//! A key type of another crate.

#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]
#[document(key = String)]
struct Account {
    balance: u64,
}

fn main() {}
