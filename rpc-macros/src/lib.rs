//! The macros of `rpc-runtime`, used through it: `#[rpc::service]`, `#[derive(rpc::Document)]`,
//! `#[derive(rpc::Schema)]`.
//!
//! Each macro goes the same way: tokens are parsed to syntax, every rule is checked while the
//! syntax becomes a model, and only a model is expanded. All mistakes of an item are reported at
//! once, each where it is, with what to write instead.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `service/` | `#[rpc::service]` |
//! | `document.rs` | `#[derive(rpc::Document)]` |
//! | `schema/` | `#[derive(rpc::Schema)]` |
//! | `errors.rs` | the mistakes of one item, gathered |
//! | `options.rs` | `key = value` lists |
//! | `attributes.rs` | the attributes that generated items take over |
//! | `runtime.rs` | under which name the user's crate knows the runtime |
#![forbid(unsafe_code)]

mod attributes;
mod document;
mod errors;
mod options;
mod runtime;
mod schema;
mod service;

use proc_macro::TokenStream;

/// Makes a service of a trait.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Debug, Serialize, Deserialize, rpc::Schema)]
/// # pub struct AccountName(String);
/// # impl std::fmt::Display for AccountName {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
/// # }
/// # #[derive(Serialize, Deserialize, rpc::Document)]
/// # #[document(key = AccountName)]
/// # pub struct Account { balance: u64 }
/// # #[derive(Debug, Serialize, Deserialize, rpc::Schema)]
/// # pub enum DepositError { NoSuchAccount }
/// use rpc::{Tx, View};
///
/// /// A bank.
/// #[rpc::service]
/// pub trait Bank {
///     /// Brings money into the bank.
///     async fn deposit(
///         &self,
///         tx: &mut Tx,
///         #[anchor] name: AccountName,
///         amount: u64,
///     ) -> Result<u64, DepositError>;
///
///     /// What an account holds; `None` if there is no such account.
///     async fn balance(&self, view: &View, name: AccountName) -> Option<u64>;
/// }
///
/// struct Ours;
///
/// impl Bank for Ours {
///     async fn deposit(
///         &self,
///         tx: &mut Tx,
///         name: AccountName,
///         amount: u64,
///     ) -> Result<u64, DepositError> {
///         let Some(mut account) = tx.get(&name).await else {
///             return Err(DepositError::NoSuchAccount);
///         };
///         account.balance += amount;
///         tx.put(&name, &account);
///         Ok(account.balance)
///     }
///
///     async fn balance(&self, view: &View, name: AccountName) -> Option<u64> {
///         Some(view.get(&name).await?.balance)
///     }
/// }
///
/// async fn ask(bank: &BankClient, name: AccountName) {
///     let _ = bank.deposit(name.clone(), 250).await;
///     let _ = bank.balance(name).await;
/// }
/// # let _ = (BankServer::new(Ours), ask);
/// ```
///
/// # What a method may do
///
/// Its first parameter behind `&self` says it; the name of the parameter is free.
///
/// | first parameter | the method | retried |
/// | --- | --- | --- |
/// | `&mut Tx` | reads and writes documents: takes effect exactly once | safely, under its id |
/// | `&View` | reads documents | freely |
/// | neither | touches no document | freely, so it must be harmless to run twice |
///
/// `#[anchor]` before one argument of a write names the document that carries the record of the
/// call: the one that the call always changes. Its type is the key of a document. A write without
/// an anchor costs a document of its own.
///
/// # What travels
///
/// Arguments (at most 12), results and errors are types with serde's traits and
/// `#[derive(rpc::Schema)]` that own their data. `Result<T, E>`, written with both types, is a typed
/// error: what a write did before it returned `Err` is thrown away. Any other type is a result that
/// cannot fail.
///
/// An argument that the method only looks at may be lent: it is then `&str`, `&[T]` or `&T`, and its
/// caller keeps it; on the wire that is the same (see `rpc::lend`).
///
/// # What is generated
///
/// - The trait itself, as it was written, but `Send + Sync + 'static`, with futures that are
///   `Send`. Implement it with `async fn`; a future that is not `Send` is reported at your method.
/// - `BankClient` with the same methods less `Tx` and `View`, each returning an `rpc::Call`.
/// - `BankServer<T>`, which serves any `T: Bank`.
///
/// Both have the trait's visibility, and its type parameters. Doc comments, `#[deprecated]` and
/// `#[cfg]` go along. A method is known on the wire by its position in the trait and its structure,
/// so methods are best added at the end; a method that a `#[cfg]` leaves out leaves a gap.
///
/// # Options
///
/// - `name = "Bank"`: the service's name in the handshake, if not that of the trait.
/// - `crate = path`: where the runtime is. It is found by itself under any name that `Cargo.toml`
///   gives it; this is for crates that reach it only through another one.
#[proc_macro_attribute]
pub fn service(options: TokenStream, item: TokenStream) -> TokenStream {
    service::expand(options.into(), item.into(), &runtime::path()).into()
}

/// Makes a document of a type: what lies in the store as JSON under a typed key.
///
/// Implements `rpc::Document` for the type and `rpc::DocumentKey` for its key type, which is
/// therefore a type of the same crate and names one type of document. The key needs `Display`: that
/// is its name in the store.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug)]
/// struct AccountName(String);
///
/// impl std::fmt::Display for AccountName {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str(&self.0)
///     }
/// }
///
/// #[derive(Serialize, Deserialize, rpc::Document)]
/// #[document(key = AccountName, collection = "account")]
/// struct Account {
///     balance: u64,
/// }
/// ```
///
/// # Options
///
/// In `#[document(…)]`:
///
/// - `key = AccountName`: the type that names one of these documents.
/// - `collection = "account"`: the first part of the name in the store, 1 to 32 of a-z, 0-9 and _;
///   the type's name in snake_case if left out. It must never change while there is data.
/// - `crate = path`: where the runtime is, as for `#[rpc::service]`.
#[proc_macro_derive(Document, attributes(document))]
pub fn document(item: TokenStream) -> TokenStream {
    document::expand(item.into(), &runtime::path()).into()
}

/// Describes the structure of a type, so that it can travel: two ends whose structures differ find
/// out before their first call.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, rpc::Schema)]
/// struct Receipt {
///     reference: String,
///     balance: u64,
/// }
///
/// use rpc::schema::SchemaWriter;
/// assert_eq!(SchemaWriter::text_of::<Receipt>(), "{reference:string,balance:u64}");
/// ```
///
/// For structs and enums, generic ones too: a parameter that travels must have a structure itself.
///
/// # Serde's attributes
///
/// The description is of what travels, so it follows those that change that:
///
/// | attribute | described as |
/// | --- | --- |
/// | `transparent` | the one field |
/// | `from`, `try_from`, `into` | the type that they name |
/// | `skip` | left out; a skipped variant must stand behind all others |
/// | `with`, `serialize_with`, `deserialize_with` | the field under the name of the module |
/// | `rename`, `rename_all`, `alias`, `default`, … | as without: messages carry no names |
///
/// The format of messages is not self-describing, so these are refused: `tag`, `untagged`,
/// `flatten`, `other`, `skip_serializing_if`, and `skip_serializing` or `skip_deserializing` alone.
///
/// # Options
///
/// `#[schema(crate = path)]`: where the runtime is, as for `#[rpc::service]`.
#[proc_macro_derive(Schema, attributes(schema))]
pub fn schema(item: TokenStream) -> TokenStream {
    schema::expand(item.into(), &runtime::path()).into()
}
