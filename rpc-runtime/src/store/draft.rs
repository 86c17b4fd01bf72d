//! A commit whose lists are lent: a call that ends where it begins, as most do, is committed from where
//! its run has put it, and leaves the room of its lists to the next.

use super::{CallRef, Commit, Outcome, ReadVersion, Write};

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
    pub result: Outcome,
}

impl Draft<'_> {
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

impl Commit {
    /// Lends all of it to this.
    pub(super) fn lend<T>(mut self, to: impl FnOnce(Draft<'_>) -> T) -> T {
        to(Draft {
            call: &self.call,
            reads: &mut self.reads,
            writes: &mut self.writes,
            result: self.result,
        })
    }
}
