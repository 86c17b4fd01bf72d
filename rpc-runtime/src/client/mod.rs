//! The client. (The signatures that generated code needs; the rest is being written.)

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::id::MethodId;
use crate::schema::Message;
use crate::service::Kind;

/// A connected client of one service.
#[derive(Clone, Debug)]
pub struct Client {}

impl Client {
    /// Prepares a call: what a generated stub calls, `A` being the tuple of its arguments.
    pub fn call<A: Message, T: Message, E: Message>(
        &self,
        _method: MethodId,
        _kind: Kind,
        arguments: A,
    ) -> Call<A, T, E> {
        Call { arguments, result: PhantomData }
    }
}

/// A call: set its options, then await it.
#[must_use = "a call is not made until it is awaited"]
#[derive(Debug)]
pub struct Call<A, T, E> {
    #[allow(dead_code)]
    arguments: A,
    result: PhantomData<fn() -> Result<T, E>>,
}

impl<A: Message, T: Message, E: Message> Future for Call<A, T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}
