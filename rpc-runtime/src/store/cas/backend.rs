//! What is needed of a key-value store: documents with hidden metadata, changed by compare-and-swap.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::store::DocKey;

/// A key-value store with compare-and-swap.
///
/// What it must keep to:
///
/// - Every write is atomic over a document's body and metadata, and durable before it answers.
/// - A CAS value is never given to a document twice.
/// - A read sees the latest acknowledged write.
/// - It does not retry a write on its own once that write may have been applied.
pub trait CasBackend: Send + Sync + 'static {
    /// The document, its metadata and its CAS; `None` if there is none.
    fn get(
        &self,
        key: &DocKey,
    ) -> impl Future<Output = Result<Option<CasDocument>, CasError>> + Send;

    /// Creates a document, if there is none.
    fn insert(
        &self,
        key: &DocKey,
        body: Bytes,
        meta: Bytes,
    ) -> impl Future<Output = Result<Cas, CasError>> + Send;

    /// Replaces metadata, and the body if one is given, if the document is still the one of `cas`.
    fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> impl Future<Output = Result<Cas, CasError>> + Send;

    /// Removes a document with its metadata, if it is still the one of `cas`.
    fn remove(&self, key: &DocKey, cas: Cas) -> impl Future<Output = Result<(), CasError>> + Send;
}

/// Names one state of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cas(pub u64);

/// A document as a backend holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CasDocument {
    /// Its state's name.
    pub cas: Cas,
    /// What SQL++ and other readers see.
    pub body: Bytes,
    /// Our metadata; empty if it has none.
    pub meta: Bytes,
}

/// Why a backend did not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CasError {
    /// The document is in another state, is there (insert) or is not (replace, remove). Nothing was
    /// done by this request; after an ambiguous one, that may be what has changed the state.
    #[error("the document is in another state")]
    Mismatch,
    /// It may have been done or not.
    #[error("the store did not say whether the write happened: {0}")]
    Ambiguous(Arc<dyn std::error::Error + Send + Sync>),
    /// Nothing was done.
    #[error("the store is unavailable: {0}")]
    Unavailable(Arc<dyn std::error::Error + Send + Sync>),
    /// Nothing was done, and never will be: the document is too large.
    #[error("{what} is {size} bytes, the store takes {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}
