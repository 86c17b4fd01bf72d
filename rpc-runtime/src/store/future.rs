//! A store's answer: at hand, or on its way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::flush::Deferred;

/// The future of a store operation. A store that has the answer at hand gives it without an
/// allocation, one that has it and must make it durable first says so; any other boxes its wait.
///
/// What was asked for may have been done before the first poll, or not at all until then.
#[must_use = "only the answer tells what a store operation has done"]
pub enum StoreFuture<'a, T> {
    /// The answer; `None` once it was taken.
    Ready(Option<T>),
    /// The answer, which holds once it is durable.
    Deferred(DeferredFuture<T>),
    /// The wait for the answer.
    Waiting(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

/// The wait for a [`Deferred`] answer.
pub struct DeferredFuture<T> {
    /// `None` once it was taken.
    deferred: Option<Deferred<T>>,
}

impl<'a, T> StoreFuture<'a, T> {
    /// An answer that is at hand.
    pub fn ready(answer: T) -> Self {
        StoreFuture::Ready(Some(answer))
    }

    /// An answer that must be waited for.
    pub fn wait(wait: impl Future<Output = T> + Send + 'a) -> Self {
        StoreFuture::Waiting(Box::pin(wait))
    }

    /// An answer that holds once it is durable.
    pub(crate) fn deferred(deferred: Deferred<T>) -> Self {
        StoreFuture::Deferred(DeferredFuture { deferred: Some(deferred) })
    }

    /// The answer, if it is at hand; else the wait for it.
    #[inline]
    pub(crate) fn into_ready(self) -> Result<T, Self> {
        match self {
            StoreFuture::Ready(Some(answer)) => Ok(answer),
            other => Err(other),
        }
    }

    /// The answer, if it is one that holds once it is durable; else the future as it was.
    #[inline]
    pub(crate) fn into_deferred(self) -> Result<Deferred<T>, Self> {
        match self {
            StoreFuture::Deferred(DeferredFuture { deferred: Some(deferred) }) => Ok(deferred),
            other => Err(other),
        }
    }
}

// The answer is only ever moved out, never pinned.
impl<T> Unpin for StoreFuture<'_, T> {}

impl<T> Future for StoreFuture<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            StoreFuture::Ready(answer) => {
                Poll::Ready(answer.take().expect("a finished future is not polled again"))
            }
            StoreFuture::Deferred(wait) => wait.poll(context),
            StoreFuture::Waiting(wait) => wait.as_mut().poll(context),
        }
    }
}

impl<T> DeferredFuture<T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<T> {
        let deferred = self.deferred.as_mut().expect("a finished future is not polled again");
        ready!(deferred.poll_ended(context));
        match self.deferred.take().map(Deferred::end) {
            Some(Ok(answer)) => Poll::Ready(answer),
            _ => unreachable!("it has ended"),
        }
    }
}
