//! Names that generated code could trip over.

#![deny(warnings)]
#![allow(non_camel_case_types, non_snake_case, dead_code)]
#![allow(clippy::wrong_self_convention)]

use rpc::client::Stub;

// Names of the prelude and of the runtime that mean something else here.
pub struct Option;
pub struct Vec;
pub struct Ok;
pub struct Err;
pub struct Some;
pub struct String;
pub struct Client;
pub struct Service;
pub struct Call;
pub struct Write;
pub struct Arc;
pub trait Send {}
pub trait Future {}
pub trait Clone {}
pub mod core {}
pub mod std {}

/// A business type that is called like a parameter of generated code.
#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
pub struct T(u8);

#[rpc::service]
pub trait Bank {
    async fn new(&self, tx: &mut rpc::Tx, client: T, tx2: u8, call: u8) -> Result<T, T>;
    async fn client(&self, context: &rpc::View, view: u8, method: u8) -> Result<T, T>;
    async fn clone(&self, arguments: u8, out: u8, result: u8, key: u8, a0: u8) -> T;
    async fn schema(&self, self_: u8, f: u8, business: u8, never: u8) -> T;
    async fn from_client(&self) -> T;
    async fn decode(&self, tx: u8) -> T;
    async fn encode(&self, __rpc: u8) -> T;
    async fn fmt(&self, response: u8) -> T;
    async fn __Parameters(&self) -> T;
}

async fn calls(bank: &BankClient) {
    let _ = bank.new(T(1), 2, 3).await;
    let _ = bank.client(1, 2).await;
    let _ = bank.clone(1, 2, 3, 4, 5).await;
    let _ = bank.schema(1, 2, 3, 4).await;
    let _ = bank.from_client().await;
}

#[test]
fn names_are_not_tripped_over() {
    let _ = calls;
    assert_eq!(<BankClient as Stub>::schema().methods.len(), 9);
}
