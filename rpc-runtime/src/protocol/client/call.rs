//! One pending call.

use std::task::Waker;
use std::time::Duration;

use super::EndpointId;
use crate::error::{NotExecuted, RefusalReason, Unknown};
use crate::id::{Attempt, ClientId, MethodId};
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::time::Time;
use crate::trace::TraceContext;

/// How a call is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallOptions {
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

/// How a call ended, for its caller. The value or error lies in the call's buffer; what is rare is
/// boxed, since every call has room for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    Success,
    BusinessError,
    NotExecuted(Box<NotExecuted>),
    Unknown(Box<Unknown>),
}

impl CallOutcome {
    pub(super) fn not_executed(reason: NotExecuted) -> CallOutcome {
        CallOutcome::NotExecuted(Box::new(reason))
    }

    pub(super) fn unknown(reason: Unknown) -> CallOutcome {
        CallOutcome::Unknown(Box::new(reason))
    }
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
    pub(super) refusal: Option<Box<(RefusalReason, String)>>,
}

/// What is known of a call when it is made.
pub(super) struct NewCall {
    pub(super) kind: Kind,
    pub(super) method: MethodId,
    pub(super) options: CallOptions,
    pub(super) client: ClientId,
    pub(super) made_at: Time,
    pub(super) deadline: Time,
    /// The encoded arguments.
    pub(super) arguments: Vec<u8>,
    /// Whom to wake when it has ended.
    pub(super) waker: Option<Waker>,
}

impl Call {
    /// No call: what an unused place of the ring holds.
    pub(super) fn vacant() -> Call {
        Call {
            state: CallState::Vacant,
            caller: Caller::Dropped,
            kind: Kind::Plain,
            method: MethodId(0),
            options: CallOptions { max_attempts: 0, hedge: Hedge::Never, trace: None },
            client: ClientId(0),
            attempts: 0,
            refused: 0,
            last_refused: Attempt(0),
            settle: false,
            endpoint: EndpointId(0),
            silent: 0,
            in_progress: false,
            made_at: Time::ZERO,
            sent_at: Time::ZERO,
            sent_before: Time::ZERO,
            asked_at: Time::ZERO,
            runs_there: false,
            next_at: Time::NEVER,
            hedge_at: Time::NEVER,
            deadline: Time::NEVER,
            buffer: Vec::new(),
            outcome: None,
            waker: None,
            refusal: None,
        }
    }

    /// Begins a call in the place of one that is over. Field by field, and all of them: to move a
    /// whole call into its place would cost as much again.
    #[inline]
    pub(super) fn begin(&mut self, new: NewCall) {
        let Call {
            state,
            caller,
            kind,
            method,
            options,
            client,
            attempts,
            refused,
            last_refused,
            settle,
            endpoint,
            silent,
            in_progress,
            made_at,
            sent_at,
            sent_before,
            asked_at,
            runs_there,
            next_at,
            hedge_at,
            deadline,
            buffer,
            outcome,
            waker,
            refusal,
        } = self;
        (*state, *caller) = (CallState::Queued, Caller::Waiting);
        (*kind, *method, *options) = (new.kind, new.method, new.options);
        (*client, *endpoint) = (new.client, EndpointId(0));
        (*attempts, *refused, *last_refused, *silent) = (0, 0, Attempt(0), 0);
        (*settle, *in_progress, *runs_there) = (false, false, false);
        (*made_at, *sent_at, *sent_before, *asked_at) =
            (new.made_at, new.made_at, new.made_at, new.made_at);
        (*next_at, *hedge_at, *deadline) = (Time::NEVER, Time::NEVER, new.deadline);
        *buffer = new.arguments;
        (*outcome, *waker, *refusal) = (None, new.waker, None);
    }

    /// Still without an outcome.
    #[inline]
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

    #[inline]
    pub(super) fn attempt(&self) -> Attempt {
        Attempt(self.attempts)
    }

    /// It was sent to `endpoint`, in the session of `client`, and waits until `next_at`.
    #[inline]
    pub(super) fn note_sent(
        &mut self,
        now: Time,
        endpoint: EndpointId,
        client: ClientId,
        next_at: Time,
    ) {
        self.state = CallState::Sent;
        self.client = client;
        self.runs_there &= self.endpoint == endpoint;
        self.endpoint = endpoint;
        if !self.runs_there {
            self.asked_at = now;
        }
        self.sent_before = self.sent_at;
        self.sent_at = now;
        self.in_progress = false;
        self.next_at = next_at;
    }

    /// It is over, and nobody will ask for it.
    pub(super) fn vacate(&mut self) {
        self.state = CallState::Vacant;
        self.buffer = Vec::new();
    }
}
