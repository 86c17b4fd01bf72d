//! Documents as the business sees them: typed values under typed keys.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{DocKey, KeyError};

/// A value that lies in the store as one JSON document.
///
/// Derive it on the value and name its key type:
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
/// A field added later needs `#[serde(default)]`: documents that were written before lack it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a document",
    label = "needs `#[derive(rpc::Document)]`",
    note = "add `#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]` and `#[document(key = YourKeyType, collection = \"name\")]` to `{Self}`"
)]
pub trait Document: Serialize + DeserializeOwned + Send + Sync {
    /// The type that names one of these documents.
    type Key: DocumentKey<Document = Self>;
}

/// The name of a document of one collection.
///
/// Implemented by `#[derive(rpc::Document)]` on the document, for the key type it names. The key's
/// `Display` is its name in the store: two keys that differ must display differently, and what a
/// key displays as must never change.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name a document",
    label = "not the key of any document",
    note = "a key type is the one that a document names: `#[derive(rpc::Document)] #[document(key = {Self}, collection = \"name\")]`"
)]
pub trait DocumentKey: Display + Send + Sync + Sized {
    /// What lies under this key.
    type Document: Document<Key = Self>;

    /// The collection that the document belongs to; part of its name in the store.
    const COLLECTION: &'static str;

    /// The name in the store.
    ///
    /// # Errors
    /// If the key displays as nothing, or as more than [`DocKey::MAX_LEN`] bytes with its collection.
    fn doc_key(&self) -> Result<DocKey, KeyError> {
        DocKey::of(Self::COLLECTION, self)
    }

    /// The [`doc_key`](DocumentKey::doc_key), if there is one.
    #[doc(hidden)]
    #[inline]
    fn doc_key_if_valid(&self) -> Option<DocKey> {
        DocKey::if_valid(Self::COLLECTION, self)
    }

    /// Whether there is a [`doc_key`](DocumentKey::doc_key), which is not made.
    #[doc(hidden)]
    fn check_key(&self) -> Result<(), KeyError> {
        DocKey::check(Self::COLLECTION, self)
    }
}
