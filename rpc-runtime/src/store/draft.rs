//! A commit whose parts are lent: a call that ends where it begins, as most do, is committed from where
//! its run has put it, and leaves the room of its lists to the next.

use super::{
    CallRef, Commit, CommitOutcome, Committed, Outcome, ReadVersion, StoreError, StoreFuture, Write,
};

/// As [`Commit`], with no more documents than the limits allow, and no larger ones. What is in the lists
/// afterwards means nothing.
#[derive(Debug)]
pub struct Draft<'a, R = Lent<'a>> {
    /// See [`Commit::call`].
    pub call: &'a CallRef,
    /// See [`Commit::reads`].
    pub reads: &'a mut Vec<ReadVersion>,
    /// See [`Commit::writes`].
    pub writes: &'a mut Vec<Write>,
    /// See [`Commit::result`].
    pub result: R,
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
    /// Anything else, or not known yet.
    Otherwise(StoreFuture<'store, Result<CommitOutcome, StoreError>>),
}

impl<'a> Draft<'a> {
    /// Takes what was lent, for a store that needs it longer than its caller lends it.
    pub(super) fn into_commit(self) -> Commit {
        self.with_outcome().into_commit()
    }

    /// With a copy of the result.
    pub(super) fn with_outcome(self) -> Draft<'a, Outcome> {
        let Draft { call, reads, writes, result } = self;
        Draft { call, reads, writes, result: result.to_outcome() }
    }
}

impl Draft<'_, Outcome> {
    /// Takes what was lent, for a store that needs it longer than its caller lends it.
    pub(super) fn into_commit(self) -> Commit {
        Commit {
            call: self.call.clone(),
            reads: std::mem::take(self.reads),
            writes: std::mem::take(self.writes),
            result: self.result,
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
    pub(super) fn lend<T>(mut self, to: impl FnOnce(Draft<'_, Outcome>) -> T) -> T {
        to(Draft {
            call: &self.call,
            reads: &mut self.reads,
            writes: &mut self.writes,
            result: self.result,
        })
    }
}
