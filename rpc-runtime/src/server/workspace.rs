//! What a call is run with, and what its run leaves behind.
//!
//! A call on its way is two words, the service and one of these, and what belongs to it is written where it
//! stays: whatever is moved right after it was written is waited for, and a call is handed on many times.

use std::cell::RefCell;
use std::mem::take;
use std::sync::Arc;

use super::answer::{DeferredAnswer, JobEnd, status_of};
use crate::id::MethodId;
use crate::io_buffer::KEPT_MESSAGE_BYTES;
use crate::protocol::server::{Answer, Payload};
use crate::service::Verdict;
use crate::store::{CallRef, Committed, Encoded, UntilDurable};
use crate::tx::Scope;

/// Where the arguments begin in their buffer. A first argument that is a text of less than 128 bytes then begins
/// at a whole word, and is checked for UTF-8 by words instead of bytes.
const ARGUMENTS_START: usize = 7;
/// How many are kept on each thread: calls that end where they begin need one.
const KEPT: usize = 16;

/// The room of one call that runs.
pub(super) struct Workspace {
    pub(super) method: MethodId,
    /// Which call, if it is a write.
    pub(super) call: Option<CallRef>,
    /// The largest encoded result that fits the client's frames.
    pub(super) max_result: usize,
    /// Of a write or a read, while it does not run.
    pub(super) scope: Option<Arc<Scope>>,
    /// Encoded, behind [`ARGUMENTS_START`] bytes.
    arguments: Vec<u8>,
    /// The encoded result, if there is one.
    pub(super) result: Vec<u8>,
    /// What kind of result that is.
    pub(super) verdict: Verdict,
    pub(super) end: End,
}

/// How a run ended.
pub(super) enum End {
    /// It has not.
    Running,
    /// With this result, of which nothing was recorded.
    Tentative(Verdict),
    /// With this value, which the store has recorded just now.
    Committed(Committed<()>),
    /// Something that it read has changed: the call must be run again.
    Conflict,
    /// With this value, which the store has recorded, and is making durable.
    Applied(UntilDurable),
    /// With another answer that holds once it is durable.
    Deferred(DeferredAnswer),
    /// With any other answer.
    Answer(Answer),
}

thread_local! {
    // Boxed, so that they stay where they are: see above.
    #[allow(clippy::vec_box)]
    static SPARE: RefCell<Vec<Box<Workspace>>> = const { RefCell::new(Vec::new()) };
}

impl Workspace {
    /// One for a call with these encoded arguments.
    #[inline]
    pub(super) fn take(
        method: MethodId,
        arguments: &[u8],
        max_result: usize,
        scope: Option<Arc<Scope>>,
    ) -> Box<Workspace> {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let mut workspace = spare.unwrap_or_else(Workspace::new);
        (workspace.method, workspace.max_result) = (method, max_result);
        workspace.scope = scope;
        workspace.arguments.truncate(ARGUMENTS_START);
        workspace.arguments.extend_from_slice(arguments);
        workspace
    }

    #[cold]
    fn new() -> Box<Workspace> {
        Box::new(Workspace {
            method: MethodId(0),
            call: None,
            max_result: 0,
            scope: None,
            arguments: vec![0; ARGUMENTS_START],
            result: Vec::new(),
            verdict: Verdict::Success,
            end: End::Running,
        })
    }

    pub(super) fn is_retry(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.attempt.is_retry())
    }

    pub(super) fn arguments(&self) -> &[u8] {
        &self.arguments[ARGUMENTS_START..]
    }

    /// Gives back what a call needed that is over.
    #[inline]
    pub(super) fn put(mut self: Box<Workspace>) {
        if self.arguments.capacity() > KEPT_MESSAGE_BYTES
            || self.result.capacity() > KEPT_MESSAGE_BYTES
        {
            return;
        }
        self.result.clear();
        // Nearly always there is nothing to drop in these, and to look costs less.
        if self.call.is_some() {
            self.call = None;
        }
        if self.scope.is_some() {
            self.scope = None;
        }
        self.end = End::Running;
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT {
                spare.push(self);
            }
        });
    }

    /// The answer that the run has come to, or that it waits for; `None` after a conflict.
    pub(super) fn take_end(&mut self) -> Option<JobEnd> {
        Some(JobEnd::Answer(match std::mem::replace(&mut self.end, End::Running) {
            End::Running => unreachable!("it has run"),
            End::Conflict => return None,
            End::Applied(wait) => {
                let value = Encoded::from(&self.result[..]);
                return Some(JobEnd::Deferred(DeferredAnswer::Value(wait, value)));
            }
            End::Deferred(deferred) => return Some(JobEnd::Deferred(deferred)),
            End::Answer(answer) => answer,
            End::Committed(proof) => Answer::Committed(proof.of(&self.result)),
            End::Tentative(verdict) => {
                Answer::Tentative(status_of(verdict), Payload::Owned(take(&mut self.result)))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(arguments: &[u8]) -> Box<Workspace> {
        Workspace::take(MethodId(3), arguments, 100, None)
    }

    #[test]
    fn arguments_are_kept_as_they_are_and_none_of_an_earlier_call() {
        for length in [0, 57, 5000, 1] {
            let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let workspace = workspace(&bytes);
            assert_eq!(workspace.arguments(), bytes, "{length} bytes");
            workspace.put();
        }
    }

    #[test]
    fn a_first_text_begins_at_a_whole_word() {
        let workspace = workspace(b"\x05alice");
        assert_eq!(workspace.arguments()[1..].as_ptr().align_offset(align_of::<usize>()), 0);
    }

    #[test]
    fn what_is_left_of_one_call_is_not_there_for_the_next() {
        let mut first = workspace(b"arguments");
        first.result.extend_from_slice(b"result");
        first.end = End::Tentative(Verdict::Success);
        first.put();
        let mut next = workspace(b"");
        assert!(next.arguments().is_empty() && next.result.is_empty() && next.call.is_none());
        assert!(matches!(next.end, End::Running));
        next.end = End::Conflict;
        assert!(next.take_end().is_none());
    }

    #[test]
    fn few_are_kept_and_no_large_ones() {
        SPARE.take();
        let many: Vec<_> = (0..2 * KEPT).map(|_| workspace(b"")).collect();
        many.into_iter().for_each(Workspace::put);
        assert_eq!(SPARE.take().len(), KEPT);
        workspace(&[0; 2 * KEPT_MESSAGE_BYTES]).put();
        assert!(SPARE.take().is_empty());
    }
}
