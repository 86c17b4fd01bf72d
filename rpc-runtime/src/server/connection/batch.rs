//! Requests that were admitted together, and are answered together.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use super::super::workspace::Workspace;
use crate::id::{ArgumentHash, Attempt, MethodId, Seq};
use crate::io_buffer;
use crate::protocol::server::{Answer, RunNumber};
use crate::service::Kind;
use crate::store::{Committed, Outcome};
use crate::wire::response::Status;

/// What was admitted together, and the answers to it.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub(super) orders: Vec<Order<'a>>,
    /// Each with the index of its order.
    pub(super) answers: Vec<(usize, Answer)>,
    /// The encoded results of calls that have ended, one behind the other; none that is large.
    pub(super) results: Vec<u8>,
    /// What the next call is run with: nearly every call leaves its own to it.
    pub(super) spare: Option<Box<Workspace>>,
}

/// A request that was admitted, on its way to being answered. No larger than what is done for it
/// needs, since one is written and read again for every call.
pub(super) struct Order<'a> {
    pub(super) seq: Seq,
    pub(super) attempt: Attempt,
    /// The server's number of its method.
    pub(super) method: MethodId,
    pub(super) kind: Kind,
    pub(super) hash: ArgumentHash,
    pub(super) arguments: &'a [u8],
    pub(super) watermark: Seq,
    /// How long ago the call was first sent.
    pub(super) age: Duration,
    pub(super) run: RunNumber,
    pub(super) task: Task,
}

/// Where the answer to an order goes: it is written there once, since whatever is moved right after it
/// was written is waited for.
pub(super) struct Place<'b> {
    pub(super) index: usize,
    pub(super) answers: &'b mut Vec<(usize, Answer)>,
    /// Where results are put together.
    pub(super) results: &'b mut Vec<u8>,
    /// Of the call before, if that has ended.
    pub(super) spare: &'b mut Option<Box<Workspace>>,
}

impl Place<'_> {
    #[inline]
    pub(super) fn put(&mut self, answer: Answer) {
        self.answers.push((self.index, answer));
    }

    /// Leaves a call's workspace to the next.
    #[inline]
    pub(super) fn keep(&mut self, mut workspace: Box<Workspace>) {
        workspace.clear();
        *self.spare = Some(workspace);
    }

    /// As [`put`](Place::put), apart: were it one with the usual, that would be built from pieces.
    #[cold]
    #[inline(never)]
    pub(super) fn put_rare(&mut self, answer: Answer) {
        self.put(answer);
    }
}

/// What is to be done for a request.
pub(super) enum Task {
    /// Run it.
    Run,
    /// Record this outcome.
    Record(Box<Outcome>),
    /// It has begun.
    Begun,
    /// It has ended; its result lies there among those of the batch.
    Ended(Status, Standing, Range<usize>),
}

/// What a result is worth.
pub(super) enum Standing {
    /// It was not recorded.
    Tentative,
    /// It was recorded, just now.
    Committed(Committed<()>),
}

thread_local! {
    /// An empty batch, for its memory.
    static BATCH: Cell<Batch<'static>> = const {
        Cell::new(Batch { orders: Vec::new(), answers: Vec::new(), results: Vec::new(), spare: None })
    };
}

impl<'a> Batch<'a> {
    /// An empty one.
    pub(super) fn take() -> Batch<'a> {
        BATCH.take()
    }

    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    /// Gives the memory back.
    pub(super) fn put(mut self) {
        self.orders.clear();
        self.answers.clear();
        self.results.clear();
        io_buffer::shed(&mut self.results);
        // Collecting nothing from a list keeps the memory of the list, whatever its orders borrowed
        // from.
        let orders = std::mem::take(&mut self.orders)
            .into_iter()
            .map(|_| unreachable!("it is empty"))
            .collect();
        let Batch { answers, results, spare, .. } = self;
        BATCH.set(Batch { orders, answers, results, spare });
    }
}
