//! The wait until changes are durable, shared by all who wait for the same changes; and the answers
//! that hold only from then on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::StoreError;

/// What went wrong, as a [`StoreError`] carries it.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The wait until some changes are durable.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    end: OnceLock<Result<(), FlushError>>,
    ended: Notify,
}

/// How a flush ended that did not make its changes durable.
#[derive(Clone, Debug)]
pub(crate) enum FlushError {
    /// Certainly nothing of them is in the files.
    NotWritten(Cause),
    /// They may be in the files, whole, or not at all.
    Unknown(Cause),
}

/// An answer that a store knows, and that holds once what it rests on is durable.
///
/// Whoever has many of them waits for their flushes instead of for each: one wake-up tells of all
/// that became durable together.
#[derive(Debug)]
pub struct Deferred<T> {
    answer: T,
    flush: Arc<Flush>,
    /// The answer if the flush fails.
    failed: fn(FlushError) -> T,
    /// Who must see to it that the flush begins; `None` if somebody does already.
    beginner: Option<Beginner>,
}

/// What can begin a flush.
pub(crate) trait BeginFlush: std::fmt::Debug + Send + Sync {
    /// Makes the changes durable before it returns, if that is not left to somebody else.
    fn begin_here(&self);

    /// Leaves it to somebody else.
    fn begin_elsewhere(&self);
}

/// Begins a flush at the latest when it is dropped, so that nothing that was applied stays behind.
#[derive(Debug)]
struct Beginner {
    store: Arc<dyn BeginFlush>,
    flush: Arc<Flush>,
}

impl Drop for Beginner {
    fn drop(&mut self) {
        if self.flush.end.get().is_none() {
            self.store.begin_elsewhere();
        }
    }
}

impl Flush {
    /// Waits for the end of the flush. Needs no runtime, and may be dropped at any time.
    pub(crate) async fn wait(&self) -> Result<(), FlushError> {
        // Made before the look, so that an end between the look and the wait is not missed.
        let ended = self.ended.notified();
        if let Some(end) = self.end.get() {
            return end.clone();
        }
        ended.await;
        self.end.get().expect("the end is set before it is notified").clone()
    }

    /// Says how the flush ended. Only the first end counts.
    pub(crate) fn finish(&self, end: Result<(), FlushError>) {
        if self.end.set(end).is_ok() {
            self.ended.notify_waiters();
        }
    }
}

impl FlushError {
    /// What a write is told.
    fn for_write(self) -> StoreError {
        match self {
            FlushError::NotWritten(cause) => StoreError::Unavailable { cause },
            FlushError::Unknown(cause) => StoreError::Unknown { cause },
        }
    }

    /// What an operation is told that itself changes nothing.
    fn for_read(self) -> StoreError {
        let (FlushError::NotWritten(cause) | FlushError::Unknown(cause)) = self;
        StoreError::Unavailable { cause }
    }
}

impl<T> Deferred<Result<T, StoreError>> {
    /// The answer to a write, which the flush makes durable.
    pub(crate) fn of_write(answer: T, flush: Arc<Flush>) -> Self {
        let failed = |error: FlushError| Err(error.for_write());
        Deferred { answer: Ok(answer), flush, failed, beginner: None }
    }

    /// An answer that changes nothing, and rests on what the flush makes durable.
    pub(crate) fn of_read(answer: T, flush: Arc<Flush>) -> Self {
        let failed = |error: FlushError| Err(error.for_read());
        Deferred { answer: Ok(answer), flush, failed, beginner: None }
    }
}

impl<T> Deferred<T> {
    /// Has the flush begin when the answer is first waited for.
    pub(crate) fn begun_by(mut self, store: Arc<dyn BeginFlush>) -> Deferred<T> {
        self.beginner = Some(Beginner { store, flush: Arc::clone(&self.flush) });
        self
    }

    /// The answer, if it holds by now.
    pub(crate) fn end(self) -> Result<T, Deferred<T>> {
        match self.flush.end.get() {
            None => Err(self),
            Some(Ok(())) => Ok(self.answer),
            Some(Err(error)) => Ok((self.failed)(error.clone())),
        }
    }

    /// Whether there is an answer by now.
    pub(crate) fn has_ended(&self) -> bool {
        self.flush.end.get().is_some()
    }

    /// The wait until there is an answer, apart from it.
    pub(crate) fn ended(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let flush = Arc::clone(&self.flush);
        let store = self.beginner.as_ref().map(|beginner| Arc::clone(&beginner.store));
        Box::pin(async move {
            if let Some(store) = store {
                store.begin_here();
            }
            // How it ended, the answer tells.
            let _ = flush.wait().await;
        })
    }
}
