//! One pending call, and the ring that holds them by number.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use super::EndpointId;
use crate::error::{NotExecuted, RefusalReason, Unknown};
use crate::id::{Attempt, ClientId, MethodId, Seq};
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::time::Time;
use crate::trace::TraceContext;
use crate::wire::ack::MAX_BITMAP_CALLS;

/// How a call is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallOptions {
    /// How long the call may be tried.
    pub(crate) deadline: Duration,
    /// The most sends, the first among them.
    pub(crate) max_attempts: u32,
    pub(crate) hedge: Hedge,
    pub(crate) trace: Option<TraceContext>,
}

/// Whether a second server is asked before the first one's time is up. Safe for writes too: at
/// most one of the two takes effect, and both give the same result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hedge {
    /// Only after a time-out.
    #[default]
    Never,
    /// When the first has taken longer than 99 of 100 calls of this method do.
    AfterP99,
    /// After this long.
    After(Duration),
}

/// How a call ended, for its caller. The value or error lies in the call's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    Success,
    BusinessError,
    NotExecuted(NotExecuted),
    Unknown(Unknown),
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallState {
    /// Over, and taken by its caller.
    Vacant,
    /// Waits for a usable endpoint.
    Queued,
    /// Waits until `next_at` to be sent again.
    Backoff,
    /// Waits for a response, until `next_at`.
    Sent,
    /// Its outcome waits for its caller.
    Complete,
}

/// Who waits for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Its future.
    Waiting,
    /// Nobody: the future was told that the outcome is unknown, and may ask again.
    GaveUp,
    /// Nobody: the future was dropped.
    Dropped,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) state: CallState,
    pub(super) caller: Caller,
    pub(super) kind: Kind,
    pub(super) method: MethodId,
    pub(super) options: CallOptions,
    /// Whose session it was sent in; calls that are over may outlive theirs.
    pub(super) client: ClientId,
    /// The latest attempt that was sent; 0 before the first.
    pub(super) attempts: u32,
    /// How many of the attempts were refused.
    pub(super) refused: u32,
    /// The latest attempt that was refused.
    pub(super) last_refused: Attempt,
    /// From now on, do not run it: find out how it ended, or end it.
    pub(super) settle: bool,
    /// Where the latest attempt went.
    pub(super) endpoint: EndpointId,
    /// Time-outs in a row with no answer of any kind to this call.
    pub(super) silent: u32,
    /// The server has said that it runs the latest attempt: the next send only asks again.
    pub(super) in_progress: bool,
    pub(super) made_at: Time,
    pub(super) sent_at: Time,
    /// The send before that.
    pub(super) sent_before: Time,
    /// When the run was asked for that will answer: at the latest send, or, if that has only joined
    /// a run, at the send before. Measured from the join, a slow server would look fast.
    pub(super) asked_at: Time,
    /// The endpoint has said that the call runs there.
    pub(super) runs_there: bool,
    pub(super) next_at: Time,
    pub(super) hedge_at: Time,
    pub(super) deadline: Time,
    /// The encoded arguments; once complete, the encoded result.
    pub(super) buffer: Vec<u8>,
    pub(super) outcome: Option<CallOutcome>,
    pub(super) waker: Option<Waker>,
    /// What was refused last.
    pub(super) refusal: Option<(RefusalReason, String)>,
}

impl Call {
    /// Still without an outcome.
    pub(super) fn is_pending(&self) -> bool {
        !matches!(self.state, CallState::Vacant | CallState::Complete)
    }

    /// Whether it is certain that no attempt took effect: each was refused, or never sent.
    pub(super) fn was_never_run(&self) -> bool {
        if kept(Rule::RefusalForItsAttempt) {
            self.refused >= self.attempts
        } else {
            self.refused > 0 || self.attempts == 0
        }
    }

    pub(super) fn attempt(&self) -> Attempt {
        Attempt(self.attempts)
    }
}

/// The calls of a session by number, from the oldest that is still of interest on.
#[derive(Debug)]
pub(super) struct CallRing {
    base: Seq,
    calls: VecDeque<Call>,
    /// The first incomplete call: everything below is acknowledged.
    watermark: Seq,
    /// Complete calls above the watermark.
    complete_above: u64,
}

impl CallRing {
    pub(super) fn new() -> CallRing {
        CallRing {
            base: Seq::FIRST,
            calls: VecDeque::new(),
            watermark: Seq::FIRST,
            complete_above: 0,
        }
    }

    pub(super) fn next_seq(&self) -> Seq {
        Seq(self.base.0 + self.calls.len() as u64)
    }

    pub(super) fn watermark(&self) -> Seq {
        self.watermark
    }

    pub(super) fn complete_above(&self) -> u64 {
        self.complete_above
    }

    /// How many calls beyond the watermark there are.
    pub(super) fn beyond_watermark(&self) -> u64 {
        self.next_seq().0 - self.watermark.0
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn push(&mut self, call: Call) -> Seq {
        let seq = self.next_seq();
        self.calls.push_back(call);
        seq
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&Call> {
        self.calls.get(self.index(seq)?)
    }

    pub(super) fn get_mut(&mut self, seq: Seq) -> Option<&mut Call> {
        let index = self.index(seq)?;
        self.calls.get_mut(index)
    }

    pub(super) fn pending_mut(&mut self, seq: Seq) -> Option<&mut Call> {
        self.get_mut(seq).filter(|call| call.is_pending())
    }

    /// All calls of interest with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Seq, &Call)> {
        let base = self.base.0;
        self.calls.iter().enumerate().map(move |(index, call)| (Seq(base + index as u64), call))
    }

    /// A call has become complete: moves the watermark as far as it goes. Returns whether it moved.
    pub(super) fn note_complete(&mut self, seq: Seq) -> bool {
        if seq > self.watermark {
            self.complete_above += 1;
            if kept(Rule::AckUpToGap) {
                return false;
            }
        }
        if !kept(Rule::AckUpToGap) {
            self.watermark = self.watermark.max(seq.next());
            return true;
        }
        self.watermark = self.watermark.next();
        while self.get(self.watermark).is_some_and(|call| !call.is_pending()) {
            self.watermark = self.watermark.next();
            self.complete_above -= 1;
        }
        true
    }

    /// Lets go of calls that are over and taken, oldest first.
    pub(super) fn trim(&mut self) {
        while self.base < self.watermark
            && self.calls.front().is_some_and(|call| call.state == CallState::Vacant)
        {
            self.calls.pop_front();
            self.base = self.base.next();
        }
    }

    /// The complete calls above the watermark as a bitmap: bit `i` is call `watermark + 1 + i`.
    pub(super) fn bitmap(&self) -> Vec<u8> {
        let mut bitmap = Vec::new();
        if self.complete_above == 0 {
            return bitmap;
        }
        let first = self.watermark.0 + 1;
        let last = self.next_seq().0.min(first + MAX_BITMAP_CALLS);
        for seq in first..last {
            let bit = seq - first;
            if self.get(Seq(seq)).is_some_and(|call| !call.is_pending()) {
                bitmap.resize(bit as usize / 8 + 1, 0);
                bitmap[bit as usize / 8] |= 1 << (bit % 8);
            }
        }
        bitmap
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.0.checked_sub(self.base.0)?).ok()
    }
}
