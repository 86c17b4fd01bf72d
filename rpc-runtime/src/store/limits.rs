//! What a store takes in one commit.

use super::{Commit, DocKey, Draft, Encoded, Lent, Outcome, ReadVersion, StoreError, Write};

/// The most documents that one call may read or write. A call that needs more is better cut into
/// several: every document it touches is one more to conflict over.
pub const MAX_DOCUMENTS_PER_CALL: usize = 64;

/// The largest encoded document, in bytes: small enough that rewriting it for every change stays
/// cheap, and far below what any store behind this crate takes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// The largest result that is recorded, in bytes. It is written once with every call and sent once
/// per attempt; what is larger belongs into documents.
pub const MAX_RESULT_BYTES: usize = 4 << 20;

/// The most sessions that a local store keeps open unless it is told otherwise. Each costs about
/// 200 bytes of memory.
pub const DEFAULT_MAX_SESSIONS: usize = 1_000_000;

/// What a row costs beside its bytes: its place in the tables of the store, roughly.
#[cfg(feature = "embedded")]
const ROW_OVERHEAD: usize = 64;

/// Refuses a commit that is larger than a store takes.
pub(super) fn check(commit: &Commit) -> Result<(), StoreError> {
    check_documents(&commit.reads, &commit.writes)?;
    check_result(&commit.result)
}

/// As [`check`], of what a [`Tx`](crate::Tx) has put together: it takes no more documents, and no larger ones.
#[inline]
pub(super) fn check_draft(draft: &Draft<'_>) -> Result<(), StoreError> {
    debug_assert!(check_documents(draft.reads, draft.writes).is_ok(), "a Tx keeps to the limits");
    match draft.result {
        Lent::Brief(value) => {
            debug_assert!(Encoded::is_short(value), "it would be checked");
            Ok(())
        }
        Lent::Whole(outcome) => check_result(outcome),
    }
}

fn check_documents(reads: &[ReadVersion], writes: &[Write]) -> Result<(), StoreError> {
    let documents = reads.len().max(writes.len());
    if documents > MAX_DOCUMENTS_PER_CALL {
        return Err(too_large(
            "the number of documents of the call",
            documents,
            MAX_DOCUMENTS_PER_CALL,
        ));
    }
    for write in writes {
        let size = write.body.as_ref().map_or(0, |body| body.len());
        if size > MAX_DOCUMENT_BYTES {
            return Err(too_large(&document(&write.key), size, MAX_DOCUMENT_BYTES));
        }
    }
    Ok(())
}

fn check_result(result: &Outcome) -> Result<(), StoreError> {
    match result_len(result) {
        length if length > MAX_RESULT_BYTES => {
            Err(too_large("the result of the call", length, MAX_RESULT_BYTES))
        }
        _ => Ok(()),
    }
}

/// About how much memory a commit holds until it is durable.
#[cfg(feature = "embedded")]
pub(super) fn weight(writes: &[Write], result: Lent<'_>) -> usize {
    let writes: usize = writes
        .iter()
        .map(|write| {
            ROW_OVERHEAD + write.key.as_bytes().len() + write.body.as_ref().map_or(0, |b| b.len())
        })
        .sum();
    let result = match result {
        Lent::Brief(value) => value.len(),
        Lent::Whole(outcome) => result_len(outcome),
    };
    writes + ROW_OVERHEAD + result
}

fn result_len(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Success(bytes) | Outcome::BusinessError(bytes) => bytes.len(),
        Outcome::Aborted(_) => 0,
    }
}

fn document(key: &DocKey) -> String {
    format!("document {key}")
}

#[cold]
fn too_large(what: &str, size: usize, limit: usize) -> StoreError {
    StoreError::TooLarge { what: what.to_owned(), size, limit }
}
