//! What a call is run with, and what its run leaves behind.
//!
//! A call on its way is two words, the service and one of these, and what belongs to it is written where it
//! stays: whatever is moved right after it was written is waited for, and a call is handed on many times.

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

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace {
            method: MethodId(0),
            call: None,
            max_result: 0,
            scope: None,
            arguments: vec![0; ARGUMENTS_START],
            result: Vec::new(),
            verdict: Verdict::Success,
            end: End::Running,
        }
    }
}

impl Workspace {
    /// Makes an empty one that of a call with these encoded arguments.
    #[inline]
    pub(super) fn begin(
        &mut self,
        method: MethodId,
        arguments: &[u8],
        max_result: usize,
        scope: Option<Arc<Scope>>,
    ) {
        (self.method, self.max_result, self.scope) = (method, max_result, scope);
        self.arguments.extend_from_slice(arguments);
    }

    /// Empties it, for another call.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.arguments.truncate(ARGUMENTS_START);
        self.result.clear();
        if self.arguments.capacity() > KEPT_MESSAGE_BYTES
            || self.result.capacity() > KEPT_MESSAGE_BYTES
        {
            *self = Workspace::default();
            return;
        }
        // Nearly always there is nothing to drop in these, and to look costs less.
        if self.call.is_some() {
            self.call = None;
        }
        if self.scope.is_some() {
            self.scope = None;
        }
        self.end = End::Running;
    }

    pub(super) fn is_retry(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.attempt.is_retry())
    }

    pub(super) fn arguments(&self) -> &[u8] {
        &self.arguments[ARGUMENTS_START..]
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

    fn workspace(arguments: &[u8]) -> Workspace {
        let mut workspace = Workspace::default();
        workspace.begin(MethodId(3), arguments, 100, None);
        workspace
    }

    #[test]
    fn arguments_are_kept_as_they_are_and_none_of_an_earlier_call() {
        let mut workspace = Workspace::default();
        for length in [0, 57, 5000, 1] {
            let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
            workspace.begin(MethodId(3), &bytes, 100, None);
            assert_eq!(workspace.arguments(), bytes, "{length} bytes");
            workspace.clear();
        }
    }

    #[test]
    fn a_first_text_begins_at_a_whole_word() {
        let workspace = workspace(b"\x05alice");
        assert_eq!(workspace.arguments()[1..].as_ptr().align_offset(align_of::<usize>()), 0);
    }

    #[test]
    fn what_is_left_of_one_call_is_not_there_for_the_next() {
        let mut workspace = workspace(b"arguments");
        workspace.result.extend_from_slice(b"result");
        workspace.end = End::Tentative(Verdict::Success);
        workspace.clear();
        workspace.begin(MethodId(4), b"", 100, None);
        assert!(workspace.arguments().is_empty() && workspace.result.is_empty());
        assert!(workspace.call.is_none() && matches!(workspace.end, End::Running));
        workspace.end = End::Conflict;
        assert!(workspace.take_end().is_none());
    }

    #[test]
    fn no_large_buffers_are_kept() {
        let mut workspace = workspace(&[0; 2 * KEPT_MESSAGE_BYTES]);
        workspace.result = vec![0; 2 * KEPT_MESSAGE_BYTES];
        workspace.clear();
        assert!(workspace.arguments.capacity() + workspace.result.capacity() < 100);
        workspace.begin(MethodId(4), b"arguments", 100, None);
        assert_eq!(workspace.arguments(), b"arguments");
    }
}
