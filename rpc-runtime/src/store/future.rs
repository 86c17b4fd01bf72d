//! A store's answer: at hand, or on its way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future of a store operation. A store that has the answer at hand gives it without an
/// allocation; one that must wait boxes its wait.
#[must_use = "a store operation does nothing until it is awaited"]
pub enum StoreFuture<'a, T> {
    /// The answer; `None` once it was taken.
    Ready(Option<T>),
    /// The wait for the answer.
    Waiting(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
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
            StoreFuture::Waiting(wait) => wait.as_mut().poll(context),
        }
    }
}
