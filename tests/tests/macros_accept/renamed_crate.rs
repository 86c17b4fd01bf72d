//! The runtime under another name, and behind another module.

pub mod inside {
    pub mod deep {
        pub use renamed as runtime;
    }
}

// Nothing generated may reach for `rpc`.
mod rpc {}

#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, renamed::Schema)]
#[schema(crate = renamed)]
pub struct Name(String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(serde::Serialize, serde::Deserialize, renamed::Document)]
#[document(crate = crate::renamed_crate::inside::deep::runtime, key = Name)]
pub struct Account {
    balance: u64,
}

#[renamed::service(crate = crate::renamed_crate::inside::deep::runtime, name = "bank")]
pub trait Bank {
    async fn open(&self, tx: &mut renamed::Tx, #[anchor] name: Name) -> Result<(), String>;
}

#[test]
fn the_runtime_may_have_another_name() {
    use renamed::client::Stub;
    assert_eq!(BankClient::schema().name, "bank");
}
