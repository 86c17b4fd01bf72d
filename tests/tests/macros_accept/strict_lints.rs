//! The strictest lints find nothing in what is generated.

#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations, dead_code)]
#![deny(unused, non_camel_case_types, rust_2018_idioms, unused_qualifications)]
#![forbid(unsafe_code)]

//! A crate with documentation.

/// What others see.
pub mod public {
    use rpc::{Message, Tx, View};

    /// A service.
    #[rpc::service]
    pub trait Bank {
        /// Opens.
        async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
        /// Shows.
        #[deprecated = "use `look`"]
        async fn show(&self, view: &View, name: String) -> Option<String>;
        /// Looks.
        async fn look(&self, _: &View) -> ();
        /// Answers.
        async fn ping(&self) -> Result<(), rpc::service::NoError>;
    }

    /// A generic service.
    #[rpc::service]
    pub trait Cache<V: Message> {
        /// Reads.
        async fn get(&self, view: &View, key: &str, or: &V) -> Option<V>;
    }

    /// Travels.
    #[derive(Debug, serde::Serialize, serde::Deserialize, rpc::Schema)]
    pub enum Shape {
        /// Without anything.
        Unit,
        /// With one thing.
        One(u8),
        /// With names.
        Named {
            /// One of them.
            a: u8,
        },
    }
}

mod hidden {
    use rpc::Tx;

    // Nobody calls or serves these, and nobody is told so.
    #[rpc::service]
    pub(crate) trait Inner {
        async fn open(&self, tx: &mut Tx, name: String) -> Result<(), String>;
    }

    #[rpc::service]
    trait Innermost {
        async fn open(&self, tx: &mut Tx, name: &Private) -> Result<Private, String>;
    }

    #[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
    struct Private(u8);

    #[derive(Debug)]
    pub(crate) struct Ours;

    impl Inner for Ours {
        async fn open(&self, _: &mut Tx, _: String) -> Result<(), String> {
            Ok(())
        }
    }

    impl Innermost for Ours {
        async fn open(&self, _: &mut Tx, name: &Private) -> Result<Private, String> {
            Ok(Private(name.0))
        }
    }
}

#[test]
fn lints_find_nothing() {
    let _ = hidden::Ours;
}
