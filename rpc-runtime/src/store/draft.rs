//! A commit whose parts are lent: a call that ends where it begins, as most do, is committed from where
//! its run has put it, and leaves the room of its lists to the next.

use super::flush::UntilDurable;
use super::{
    CallRef, Commit, CommitOutcome, Committed, Outcome, ReadVersion, StoreError, StoreFuture, Write,
};

/// As [`Commit`], with no more documents than the limits allow, and no larger ones. What is in the lists
/// afterwards means nothing.
#[derive(Debug)]
pub struct Draft<'a> {
    /// See [`Commit::call`].
    pub call: &'a CallRef,
    /// See [`Commit::reads`].
    pub reads: &'a mut Vec<ReadVersion>,
    /// See [`Commit::writes`].
    pub writes: &'a mut Vec<Write>,
    /// See [`Commit::result`].
    pub result: Lent<'a>,
}

/// A result to record, which stays where it is: moved a dozen times on its way, it would be waited for
/// each time.
#[derive(Clone, Copy, Debug)]
pub enum Lent<'a> {
    /// An encoded value of a few bytes, as most results are, that the business returned.
    Brief(&'a [u8]),
    /// Any other.
    Whole(&'a Outcome),
}

/// What became of a [`Draft`].
#[must_use = "only this tells what a store operation has done"]
pub enum Drafted<'store, 'draft> {
    /// It was applied, and its result recorded as it stands there.
    Committed(Committed<Lent<'draft>>),
    /// The same, once it is durable.
    Applied(UntilDurable, Lent<'draft>),
    /// Anything else, or not known yet.
    Otherwise(StoreFuture<'store, Result<CommitOutcome, StoreError>>),
}

impl Draft<'_> {
    /// Takes what was lent, for a store that needs it longer than its caller lends it.
    pub(super) fn into_commit(self) -> Commit {
        Commit {
            call: self.call.clone(),
            reads: std::mem::take(self.reads),
            writes: std::mem::take(self.writes),
            result: self.result.to_outcome(),
        }
    }
}

impl Lent<'_> {
    /// A copy.
    pub(super) fn to_outcome(self) -> Outcome {
        match self {
            Lent::Brief(value) => Outcome::Success(value.into()),
            Lent::Whole(outcome) => outcome.clone(),
        }
    }
}

impl<'store> Drafted<'store, '_> {
    /// As a store answers a whole [`Commit`].
    pub fn whole(self) -> StoreFuture<'store, Result<CommitOutcome, StoreError>> {
        let committed =
            |lent: Lent<'_>| CommitOutcome::Committed(Committed::new(lent.to_outcome()));
        match self {
            Drafted::Committed(lent) => StoreFuture::ready(Ok(committed(lent.into_inner()))),
            Drafted::Applied(wait, lent) => StoreFuture::deferred(wait.with(committed(lent))),
            Drafted::Otherwise(future) => future,
        }
    }
}

impl Committed<Lent<'_>> {
    /// That the value which was lent is recorded; if it was anything else, a copy of that.
    #[inline]
    pub(crate) fn taken(self) -> Result<Committed<()>, Committed<Outcome>> {
        match self.into_inner() {
            Lent::Brief(_) => Ok(Committed::new(())),
            Lent::Whole(outcome) => Err(Committed::new(outcome.clone())),
        }
    }
}

impl Committed<()> {
    /// A copy of the value that was lent, of which this is the proof.
    pub(crate) fn of(self, lent: &[u8]) -> Committed<Outcome> {
        Committed::new(Lent::Brief(lent).to_outcome())
    }
}

impl Commit {
    /// Lends all of it to this.
    pub(super) fn lend<T>(mut self, to: impl FnOnce(Draft<'_>) -> T) -> T {
        to(Draft {
            call: &self.call,
            reads: &mut self.reads,
            writes: &mut self.writes,
            result: Lent::Whole(&self.result),
        })
    }
}
