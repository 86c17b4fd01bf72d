//! The CAS store's small trait, over one collection of Couchbase.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use couchbase::cluster::Cluster;
use couchbase::collection::Collection;
use couchbase::error::{Error, ErrorKind};
use couchbase::options::kv_options::{MutateInOptions, RemoveOptions, StoreSemantics};
use couchbase::retry::{RetryAction, RetryReason, RetryRequest, RetryStrategy};
use couchbase::subdoc::lookup_in_specs::{GetSpecOptions, LookupInSpec};
use couchbase::subdoc::mutate_in_specs::{MutateInSpec, UpsertSpecOptions};
use tokio::time::{Instant, sleep, timeout};

use super::CouchbaseConfig;
use super::verdict::{ReadVerdict, WriteVerdict, of_read, of_write};
use crate::store::DocKey;
use crate::store::cas::{Cas, CasBackend, CasDocument, CasError};

/// The extended attribute that our metadata lies in. A user attribute (no leading underscore):
/// a system attribute would need privileges that a user of the data has not.
pub const XATTR: &str = "rpc";
/// The largest document that Couchbase takes, in bytes: body and user attributes together.
pub const MAX_DOCUMENT_BYTES: usize = 20 << 20;
/// The largest metadata that is written, in bytes. Couchbase takes as much of system attributes; of
/// user attributes it takes more, but all of it is written with every change of the document.
pub const MAX_XATTR_BYTES: usize = 1 << 20;
/// What Couchbase adds per attribute to the size of a document, and a little more.
const XATTR_OVERHEAD_BYTES: usize = 64;
/// The metadata of a document that has none any more: an attribute must have a JSON value.
const NO_META: &[u8] = b"{}";
/// The first pause before an operation is repeated, and the longest; it doubles in between.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A [`CasBackend`] over one collection of a Couchbase bucket.
///
/// The body is the document as it is given, so SQL++ works on it; metadata is the one extended
/// attribute [`XATTR`], and must be JSON. (Couchbase has no empty bodies: one that is nothing but
/// zero bytes, which no JSON is, is kept with one zero byte more.) Made by
/// [`CouchbaseStore::connect`](super::CouchbaseStore::connect). Clones share their connections.
#[derive(Clone)]
pub struct CouchbaseBackend {
    /// The collection works only as long as its cluster is held.
    _cluster: Cluster,
    collection: Collection,
    read_timeout: Duration,
    write_timeout: Duration,
    patience: Duration,
}

/// One operation, behind a pointer: the driver's futures are nested so deeply that what awaits them as
/// they are may not compile.
type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, CasError>> + Send + 'a>>;

/// The driver repeats nothing by itself. What it does repeat in spite of this (a request that went
/// to the wrong node, or named a collection by an outdated number) was refused unprocessed.
#[derive(Debug)]
pub(super) struct NoRetries;

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer from Couchbase within {0:?}")]
struct TimedOut(Duration);

impl CouchbaseBackend {
    pub(super) fn new(cluster: Cluster, config: &CouchbaseConfig) -> CouchbaseBackend {
        let collection =
            cluster.bucket(&config.bucket).scope(&config.scope).collection(&config.collection);
        CouchbaseBackend {
            _cluster: cluster,
            collection,
            read_timeout: config.read_timeout,
            write_timeout: config.write_timeout,
            patience: config.patience,
        }
    }

    /// One write, repeated as long as the server says that it was not done and soon can be.
    async fn write<T, F>(
        &self,
        sizes: Sizes<'_>,
        request: impl Fn() -> F + Send,
    ) -> Result<T, CasError>
    where
        F: Future<Output = couchbase::error::Result<T>> + Send,
        T: Send,
    {
        sizes.check()?;
        let mut pauses = Pauses::new(self.patience);
        loop {
            let error = match timeout(self.write_timeout, request()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => error,
                Err(_) => return Err(CasError::Ambiguous(Arc::new(TimedOut(self.write_timeout)))),
            };
            match of_write(&error) {
                WriteVerdict::Mismatch => return Err(CasError::Mismatch),
                WriteVerdict::Ambiguous => return Err(CasError::Ambiguous(Arc::new(error))),
                WriteVerdict::TooLarge => return Err(sizes.too_large()),
                WriteVerdict::Wait if pauses.next().await => {}
                WriteVerdict::Wait | WriteVerdict::Unavailable => {
                    return Err(CasError::Unavailable(Arc::new(error)));
                }
            }
        }
    }

    async fn read(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        let specs = [
            LookupInSpec::get(XATTR, GetSpecOptions::new().xattr(true)),
            LookupInSpec::get("", None),
        ];
        let mut pauses = Pauses::new(self.patience);
        loop {
            let looked =
                timeout(self.read_timeout, self.collection.lookup_in(key.as_str(), &specs, None));
            let error = match looked.await {
                Ok(Ok(found)) => {
                    let meta = match found.content_as_raw(0) {
                        Ok(meta) if meta == NO_META => Bytes::new(),
                        Ok(meta) => meta,
                        Err(error) if *error.kind() == ErrorKind::PathNotFound => Bytes::new(),
                        Err(error) => return Err(CasError::Unavailable(Arc::new(error))),
                    };
                    let body = found
                        .content_as_raw(1)
                        .map_err(|error| CasError::Unavailable(Arc::new(error)))?;
                    return Ok(Some(CasDocument {
                        cas: Cas(found.cas()),
                        body: from_stored(body),
                        meta,
                    }));
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(CasError::Unavailable(Arc::new(TimedOut(self.read_timeout)))),
            };
            match of_read(&error) {
                ReadVerdict::Absent => return Ok(None),
                ReadVerdict::Wait if pauses.next().await => {}
                ReadVerdict::Wait | ReadVerdict::Unavailable => {
                    return Err(CasError::Unavailable(Arc::new(error)));
                }
            }
        }
    }

    async fn mutate(
        &self,
        key: &DocKey,
        body: Option<&Bytes>,
        meta: &Bytes,
        options: MutateInOptions,
    ) -> Result<Cas, CasError> {
        let body = body.map(to_stored);
        let mut specs = Vec::with_capacity(2);
        let is_insert = options.cas.is_none();
        if !(is_insert && meta.is_empty()) {
            let value = if meta.is_empty() { NO_META.to_vec() } else { meta.to_vec() };
            specs.push(MutateInSpec::upsert_raw(
                XATTR,
                value,
                UpsertSpecOptions::new().xattr(true),
            ));
        }
        if let Some(body) = &body {
            specs.push(MutateInSpec::replace_raw("", body.to_vec(), None));
        }
        let sizes = Sizes { key, body: body.as_ref().map_or(0, Bytes::len), meta: meta.len() };
        let result = self
            .write(sizes, || self.collection.mutate_in(key.as_str(), &specs, options.clone()))
            .await?;
        Ok(Cas(result.cas()))
    }
}

impl CasBackend for CouchbaseBackend {
    async fn get(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        let reading: Operation<'_, _> = Box::pin(self.read(key));
        reading.await
    }

    async fn insert(&self, key: &DocKey, body: Bytes, meta: Bytes) -> Result<Cas, CasError> {
        let options = MutateInOptions::new().store_semantics(StoreSemantics::Insert);
        let writing: Operation<'_, _> = Box::pin(self.mutate(key, Some(&body), &meta, options));
        writing.await
    }

    async fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> Result<Cas, CasError> {
        let options = MutateInOptions::new().store_semantics(StoreSemantics::Replace).cas(cas.0);
        let writing: Operation<'_, _> = Box::pin(self.mutate(key, body.as_ref(), &meta, options));
        writing.await
    }

    async fn remove(&self, key: &DocKey, cas: Cas) -> Result<(), CasError> {
        let options = RemoveOptions::new().cas(cas.0);
        let sizes = Sizes { key, body: 0, meta: 0 };
        let request = || self.collection.remove(key.as_str(), options.clone());
        let removing: Operation<'_, _> = Box::pin(self.write(sizes, request));
        removing.await?;
        Ok(())
    }
}

fn to_stored(body: &Bytes) -> Bytes {
    if is_zeros(body) { vec![0; body.len() + 1].into() } else { body.clone() }
}

fn from_stored(body: Bytes) -> Bytes {
    if is_zeros(&body) { body.slice(..body.len().saturating_sub(1)) } else { body }
}

fn is_zeros(body: &[u8]) -> bool {
    body.iter().all(|byte| *byte == 0)
}

impl RetryStrategy for NoRetries {
    fn retry_after(&self, _: &RetryRequest, _: &RetryReason) -> Option<RetryAction> {
        None
    }
}

/// How large a write is.
#[derive(Clone, Copy)]
struct Sizes<'a> {
    key: &'a DocKey,
    body: usize,
    meta: usize,
}

impl Sizes<'_> {
    fn total(self) -> usize {
        self.body + self.meta + XATTR_OVERHEAD_BYTES
    }

    fn check(self) -> Result<(), CasError> {
        if self.meta > MAX_XATTR_BYTES {
            let what = format!("the metadata of document {}", self.key);
            return Err(CasError::TooLarge { what, size: self.meta, limit: MAX_XATTR_BYTES });
        }
        if self.total() > MAX_DOCUMENT_BYTES { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(self) -> CasError {
        let what = format!(
            "document {} ({} bytes of body, {} of metadata)",
            self.key, self.body, self.meta
        );
        CasError::TooLarge { what, size: self.total(), limit: MAX_DOCUMENT_BYTES }
    }
}

/// The pauses between the tries of one operation, until its patience ends.
struct Pauses {
    end: Instant,
    pause: Duration,
}

impl Pauses {
    fn new(patience: Duration) -> Pauses {
        Pauses { end: Instant::now() + patience, pause: FIRST_PAUSE }
    }

    /// Waits; `false`, at once, if there is no patience left.
    async fn next(&mut self) -> bool {
        if Instant::now() + self.pause > self.end {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// An error of the driver that stands for a whole time-out.
pub(super) fn timed_out(after: Duration) -> impl std::error::Error + Send + Sync + 'static {
    TimedOut(after)
}

/// Whether the error may be gone when the same is asked again soon: for what is asked at connect.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::OtherFailure(_)
            | ErrorKind::ServiceNotAvailable(_)
            | ErrorKind::TemporaryFailure
            | ErrorKind::InternalServerFailure
            | ErrorKind::RequestCanceled
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_comes_back() {
        for body in [&b""[..], &[0], &[0, 0, 0], &[0, 1], b"null", b"{}", b"\"\""] {
            let stored = to_stored(&Bytes::copy_from_slice(body));
            assert!(!stored.is_empty());
            assert_eq!(from_stored(stored), body);
        }
        assert_eq!(to_stored(&Bytes::from_static(b"{}")), &b"{}"[..], "JSON stays as it is");
    }
}
