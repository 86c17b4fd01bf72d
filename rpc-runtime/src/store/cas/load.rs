//! Reading and writing documents with their metadata, and settling ambiguous writes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::meta::Meta;
use super::{Cas, CasBackend, CasError, Inner};
use crate::rule::{Rule, kept};
use crate::store::{DocKey, StoreError};

/// A document as it was read: also one that is not there, or only logically not.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// `None`: the backend has nothing under this key.
    pub(super) cas: Option<Cas>,
    pub(super) body: Bytes,
    pub(super) meta: Meta,
}

/// What became of a conditional write.
#[derive(Debug)]
pub(super) enum Written {
    /// It happened.
    Done(Cas),
    /// It did not and will not: the document is in another state.
    Lost,
}

/// What is done about an ambiguous write of which nothing is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubtful {
    TryAgain,
    Lost,
}

/// The body of a document that is logically absent.
pub(super) const EMPTY_BODY: &[u8] = b"null";
/// The largest metadata, in bytes: what Couchbase takes in one attribute, less a margin.
const MAX_META_BYTES: usize = (1 << 20) - (16 << 10);
/// How often an ambiguous write is looked at, and the first pause between the looks; it doubles.
const SETTLE_TRIES: u32 = 6;
const SETTLE_PAUSE: Duration = Duration::from_millis(5);

impl<B: CasBackend> Inner<B> {
    pub(super) async fn load(&self, key: &DocKey) -> Result<Loaded, StoreError> {
        match self.backend.get(key).await {
            Ok(None) => {
                let meta = Meta { absent: true, ..Meta::default() };
                Ok(Loaded { cas: None, body: Bytes::new(), meta })
            }
            Ok(Some(document)) => {
                let meta = Meta::decode(&document.meta).map_err(|error| {
                    let why = format!("the metadata of document {key} is damaged: {error}");
                    StoreError::Unavailable { cause: Arc::new(std::io::Error::other(why)) }
                })?;
                Ok(Loaded { cas: Some(document.cas), body: document.body, meta })
            }
            Err(error) => Err(store_error(error)),
        }
    }

    /// As [`load`](Inner::load), by a name that lies in metadata.
    pub(super) async fn load_named(&self, key: &str) -> Result<Loaded, StoreError> {
        self.load(&DocKey::stored(key)).await
    }

    /// Writes metadata, and a body if one is given, over the state that was read. An ambiguous
    /// answer is settled by reading again: `is_ours` tells the written state from all others.
    pub(super) async fn write(
        &self,
        key: &DocKey,
        over: Option<Cas>,
        body: Option<Bytes>,
        meta: &Meta,
        is_ours: impl Fn(&Meta) -> bool,
    ) -> Result<Written, StoreError> {
        self.write_settled(key, over, body, meta, is_ours, Doubtful::TryAgain).await
    }

    /// Writes a stage. One that creates its document, and of which nothing is to be seen after an
    /// ambiguous answer, counts as lost and is not tried again: absence comes back when the document
    /// is deleted, and then the first try could still arrive and, with its run's record there, count.
    pub(super) async fn write_stage(
        &self,
        key: &DocKey,
        over: Option<Cas>,
        meta: &Meta,
        is_ours: impl Fn(&Meta) -> bool,
    ) -> Result<Written, StoreError> {
        let doubtful = if over.is_some() { Doubtful::TryAgain } else { Doubtful::Lost };
        self.write_settled(key, over, None, meta, is_ours, doubtful).await
    }

    async fn write_settled(
        &self,
        key: &DocKey,
        over: Option<Cas>,
        body: Option<Bytes>,
        meta: &Meta,
        is_ours: impl Fn(&Meta) -> bool,
        doubtful: Doubtful,
    ) -> Result<Written, StoreError> {
        let encoded = meta.encode();
        if encoded.len() > MAX_META_BYTES {
            let what = format!(
                "the metadata of document {key} (too many calls at once have it as their anchor)"
            );
            return Err(StoreError::TooLarge { what, size: encoded.len(), limit: MAX_META_BYTES });
        }
        let mut doubt: Option<CasError> = None;
        for round in 0..SETTLE_TRIES {
            let (body, encoded) = (body.clone(), encoded.clone());
            let written = match over {
                Some(cas) => self.backend.replace(key, cas, body, encoded).await,
                None => {
                    let body = body.unwrap_or(Bytes::from_static(EMPTY_BODY));
                    self.backend.insert(key, body, encoded).await
                }
            };
            match (written, &doubt) {
                (Ok(cas), _) => return Ok(Written::Done(cas)),
                (Err(CasError::Mismatch), None) if kept(Rule::MismatchIsLoss) => {
                    return Ok(Written::Lost);
                }
                (Err(CasError::Mismatch), None) => {
                    return Ok(Written::Done(over.unwrap_or(Cas(0))));
                }
                (Err(CasError::Ambiguous(cause)), _) if !kept(Rule::DoubtIsNoFailure) => {
                    return Err(StoreError::Unavailable { cause });
                }
                (Err(CasError::Ambiguous(_)), _) if !kept(Rule::DoubtIsNoSuccess) => {
                    return Ok(Written::Done(over.unwrap_or(Cas(0))));
                }
                (Err(error @ (CasError::Unavailable(_) | CasError::TooLarge { .. })), None) => {
                    return Err(store_error(error));
                }
                (Err(error), _) => doubt = Some(error),
            }
            match self.load_patiently(key).await {
                Ok(now) if now.cas.is_some() && is_ours(&now.meta) => {
                    return Ok(Written::Done(now.cas.expect("asked just now")));
                }
                Ok(now) if now.cas != over => return Ok(Written::Lost),
                Ok(_) if doubtful == Doubtful::Lost => return Ok(Written::Lost),
                // As before the write: it did not happen, or has not happened yet. Writing again over
                // the same state is safe either way.
                Ok(_) => tokio::time::sleep(SETTLE_PAUSE * 2u32.pow(round)).await,
                Err(error) => return Err(unknown(error)),
            }
        }
        Err(unknown(store_error(doubt.expect("only doubt goes round"))))
    }

    /// Removes a document that nothing needs any more; it is no matter if it has changed. Returns
    /// whether it is gone, as far as the store says.
    pub(super) async fn remove(&self, key: &DocKey, cas: Cas) -> bool {
        match self.backend.remove(key, cas).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%key, %error, "an empty document stays for now");
                false
            }
        }
    }

    async fn load_patiently(&self, key: &DocKey) -> Result<Loaded, StoreError> {
        let mut round = 0;
        loop {
            match self.load(key).await {
                Err(StoreError::Unavailable { .. }) if round < SETTLE_TRIES => {
                    tokio::time::sleep(SETTLE_PAUSE * 2u32.pow(round)).await;
                    round += 1;
                }
                loaded => return loaded,
            }
        }
    }
}

pub(super) fn store_error(error: CasError) -> StoreError {
    match error {
        CasError::Mismatch => StoreError::Unavailable { cause: Arc::new(error) },
        CasError::Ambiguous(cause) => StoreError::Unknown { cause },
        CasError::Unavailable(cause) => StoreError::Unavailable { cause },
        CasError::TooLarge { what, size, limit } => StoreError::TooLarge { what, size, limit },
    }
}

fn unknown(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { cause } => StoreError::Unknown { cause },
        other => other,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;
    use crate::store::cas::meta::{Token, Wish};
    use crate::store::cas::{CasDocument, CasStore};
    use crate::time::WallTime;

    type Answers<T> = Mutex<VecDeque<Result<T, CasError>>>;

    /// Answers as it was told to, and is unavailable after that.
    #[derive(Default)]
    pub(in crate::store::cas) struct Told {
        reads: Answers<Option<CasDocument>>,
        writes: Answers<Cas>,
    }

    fn next<T>(answers: &Answers<T>) -> Result<T, CasError> {
        answers.lock().unwrap().pop_front().unwrap_or_else(|| Err(unavailable()))
    }

    fn cause() -> Arc<dyn std::error::Error + Send + Sync> {
        Arc::new(std::io::Error::other("told to"))
    }

    fn unavailable() -> CasError {
        CasError::Unavailable(cause())
    }

    fn ambiguous() -> CasError {
        CasError::Ambiguous(cause())
    }

    impl CasBackend for Told {
        async fn get(&self, _: &DocKey) -> Result<Option<CasDocument>, CasError> {
            next(&self.reads)
        }

        async fn insert(&self, _: &DocKey, _: Bytes, _: Bytes) -> Result<Cas, CasError> {
            next(&self.writes)
        }

        async fn replace(
            &self,
            _: &DocKey,
            _: Cas,
            _: Option<Bytes>,
            _: Bytes,
        ) -> Result<Cas, CasError> {
            next(&self.writes)
        }

        async fn remove(&self, _: &DocKey, _: Cas) -> Result<(), CasError> {
            Err(unavailable())
        }
    }

    const OURS: Token = Token(1, 1);
    const MS: Duration = Duration::from_millis(1);

    fn marked(cas: u64, mark: Token) -> Result<Option<CasDocument>, CasError> {
        let meta = Meta { mark: Some(mark), ..Meta::default() }.encode();
        Ok(Some(CasDocument { cas: Cas(cas), body: Bytes::new(), meta }))
    }

    /// Writes our mark over state 7, and says how long that took.
    async fn write(
        reads: impl IntoIterator<Item = Result<Option<CasDocument>, CasError>>,
        writes: impl IntoIterator<Item = Result<Cas, CasError>>,
    ) -> (Result<Written, StoreError>, Duration) {
        let told = Told {
            reads: Mutex::new(reads.into_iter().collect()),
            writes: Mutex::new(writes.into_iter().collect()),
        };
        let store = CasStore::with_seed(told, 1, || WallTime(0));
        let meta = Meta { mark: Some(OURS), ..Meta::default() };
        let is_ours = |meta: &Meta| meta.mark == Some(OURS);
        let began = Instant::now();
        let (key, over) = (DocKey::stored("a:1"), Some(Cas(7)));
        let written = store.inner.write(&key, over, None, &meta, is_ours).await;
        (written, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubtful_write_is_done_if_it_is_found() {
        let (written, _) = write([marked(9, OURS)], [Err(ambiguous())]).await;
        assert!(matches!(written, Ok(Written::Done(Cas(9)))), "{written:?}");
        let (written, _) = write([marked(9, Token(2, 2))], [Err(ambiguous())]).await;
        assert!(matches!(written, Ok(Written::Lost)), "it is another's: {written:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubtful_write_of_which_nothing_is_seen_is_tried_again_ever_later() {
        let old = || marked(7, Token(2, 2));
        let doubt = || Err(ambiguous());
        let (written, took) =
            write([old(), old(), old()], [doubt(), doubt(), doubt(), Ok(Cas(8))]).await;
        assert!(matches!(written, Ok(Written::Done(Cas(8)))), "{written:?}");
        assert_eq!(took, MS * (5 + 10 + 20));
        let (written, took) = write((0..9).map(|_| old()), (0..9).map(|_| doubt())).await;
        assert!(matches!(written, Err(StoreError::Unknown { .. })), "{written:?}");
        assert_eq!(took, MS * 5 * 63, "six times");
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubtful_write_is_looked_for_patiently_and_not_for_ever() {
        let trouble = |times| (0..times).map(|_| Err(unavailable()));
        let (written, took) = write(trouble(6).chain([marked(9, OURS)]), [Err(ambiguous())]).await;
        assert!(matches!(written, Ok(Written::Done(Cas(9)))), "{written:?}");
        assert_eq!(took, MS * 5 * 63);
        let (written, _) = write(trouble(7).chain([marked(9, OURS)]), [Err(ambiguous())]).await;
        assert!(matches!(written, Err(StoreError::Unknown { .. })), "{written:?}");
    }

    #[test]
    fn limits_are_below_what_couchbase_takes() {
        use crate::store::cas::{MAX_RECORDED_BYTES, MAX_STAGED_BYTES};
        assert_eq!(MAX_META_BYTES, 1_048_576 - 16_384, "1 MiB, less a margin");
        assert_eq!((MAX_STAGED_BYTES, MAX_RECORDED_BYTES), (720_896, 131_072));
    }

    #[tokio::test]
    async fn metadata_has_a_largest_size() {
        let wish = |len| Wish { client: 1, seq: 1, attempt: 1, born: 1, anchor: "a".repeat(len) };
        let sized = |len| Meta { wish: Some(wish(len)), ..Meta::default() };
        let beside = sized(0).encode().len();
        for (size, fits) in [(MAX_META_BYTES, true), (MAX_META_BYTES + 1, false)] {
            let told = Told { writes: Mutex::new([Ok(Cas(8))].into()), ..Told::default() };
            let store = CasStore::with_seed(told, 1, || WallTime(0));
            let (key, meta) = (DocKey::stored("a:1"), sized(size - beside));
            let written = store.inner.write(&key, Some(Cas(7)), None, &meta, |_| false).await;
            match written {
                Ok(Written::Done(Cas(8))) => assert!(fits),
                Err(StoreError::TooLarge { size: found, limit, .. }) => {
                    assert_eq!((fits, found, limit), (false, size, MAX_META_BYTES));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
