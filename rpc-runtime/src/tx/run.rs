//! How a run of the business is polled, and how it ends before the business does.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use crate::panic::panic_message;
use crate::service::ArgumentError;
use crate::store::{DocKey, KeyError, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS_PER_CALL, StoreError};

/// Why a run ended before the business did.
#[derive(Debug)]
pub(crate) enum RunFailure {
    /// The store could not answer.
    Store(StoreError),
    /// The business asked for what cannot be.
    Business(BusinessFault),
    /// The business panicked, with this message.
    Panic(String),
    /// The business was never asked: its arguments are none.
    Arguments(ArgumentError),
}

/// Polls the business; a panic ends only its own run.
pub(crate) fn poll_contained<F: Future>(
    business: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Poll<Result<F::Output, String>> {
    // The run's state is thrown away after a panic, so nothing broken is ever seen.
    match catch_unwind(AssertUnwindSafe(|| business.poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic_message(&*panic))),
    }
}

/// What a business returned that was polled by [`poll_contained`].
// Always, since what a business returns is moved no more often than it must be.
#[inline(always)]
pub(crate) fn returned<T>(
    ended: Result<Result<T, ArgumentError>, String>,
) -> Result<T, Box<RunFailure>> {
    match ended {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(Box::new(RunFailure::Arguments(error))),
        Err(panic) => Err(Box::new(RunFailure::Panic(panic))),
    }
}

/// A mistake in the business, told apart from its typed errors: the call cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BusinessFault {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("document {key} cannot be encoded: {error}")]
    Encode { key: DocKey, error: serde_json::Error },
    #[error(
        "document {key} does not decode as what the code expects: {error}; fields added later need #[serde(default)]"
    )]
    Decode { key: DocKey, error: serde_json::Error },
    #[error(
        "document {key} would be {size} bytes, at most {MAX_DOCUMENT_BYTES} are allowed: split it into several"
    )]
    DocumentTooLarge { key: DocKey, size: usize },
    #[error(
        "a call may read and write at most {MAX_DOCUMENTS_PER_CALL} documents: cut it into several"
    )]
    TooManyDocuments,
}

/// How a run that must end says so to whoever polls it.
#[derive(Debug, Default)]
pub(crate) struct RunSignal {
    raised: AtomicBool,
    failure: Mutex<Option<RunFailure>>,
}

impl RunSignal {
    /// Polls the business to its end, or to the first failure of its `Tx` or `View`, whichever
    /// comes first. A failure wins over a result that the business returns after it.
    pub(crate) fn poll<T, F: Future<Output = Result<T, ArgumentError>>>(
        &self,
        business: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, Box<RunFailure>>> {
        let polled = poll_contained(business, context);
        if self.is_raised() {
            let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            let failure = failure.expect("a raised signal holds its failure");
            return Poll::Ready(Err(Box::new(failure)));
        }
        polled.map(returned)
    }

    /// Whether the run has failed.
    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    #[cold]
    pub(super) fn raise(&self, failure: RunFailure) {
        let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(failure);
            self.raised.store(true, Ordering::Release);
        }
    }
}
