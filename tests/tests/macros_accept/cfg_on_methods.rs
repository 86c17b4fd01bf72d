//! A method that is not there leaves a gap in the numbers; two that exclude each other may share
//! a name.

#![deny(warnings)]
#![allow(clippy::non_minimal_cfg)]

use rpc::Tx;
use rpc::client::Stub as _;

#[rpc::service]
pub trait Bank {
    #[cfg(any())]
    async fn gone(&self, tx: &mut Tx, missing: Missing) -> Result<Missing, Missing>;
    #[cfg(all())]
    async fn here(&self, tx: &mut Tx, number: u8) -> Result<u8, String>;
    #[cfg_attr(all(), cfg(any()))]
    async fn gone_too(&self, view: &rpc::View, missing: Missing) -> Missing;
    #[cfg(any())]
    async fn either(&self, missing: Missing) -> Missing;
    #[cfg(not(any()))]
    async fn either(&self, number: u8) -> u8;
}

struct Ours;

impl Bank for Ours {
    async fn here(&self, _: &mut Tx, number: u8) -> Result<u8, String> {
        Ok(number)
    }
    async fn either(&self, number: u8) -> u8 {
        number
    }
}

#[rpc::service]
#[cfg(any())]
pub trait Nothing {
    async fn gone(&self, missing: Missing) -> Missing;
}

/// All that is generated copes with a service of which nothing is left.
#[rpc::service]
pub trait Empty {
    #[cfg(any())]
    async fn gone(&self, missing: Missing) -> Missing;
}

struct Void;

impl Empty for Void {}

#[test]
fn a_method_that_is_not_there_leaves_a_gap() {
    let _ = (BankServer::new(Ours), EmptyServer::new(Void));
    let ids: Vec<_> = BankClient::schema().methods.iter().map(|it| (it.id.0, it.name)).collect();
    assert_eq!(ids, [(1, "here"), (4, "either")]);
    assert!(EmptyClient::schema().methods.is_empty());
}
