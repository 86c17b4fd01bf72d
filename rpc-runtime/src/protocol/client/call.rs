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

/// How a call is to be made, where that is not as usual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallOptions {
    /// The most sends, the first among them.
    pub(crate) max_attempts: u32,
    pub(crate) hedge: Hedge,
    pub(crate) trace: Option<TraceContext>,
}

impl CallOptions {
    /// As usual: as many sends as it takes, one server at a time, no trace context.
    pub(crate) const USUAL: CallOptions =
        CallOptions { max_attempts: u32::MAX, hedge: Hedge::Never, trace: None };
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
    /// Waits to be written down before it is sent.
    Unwritten,
    /// Waits for a usable endpoint.
    Queued,
    /// Waits until `next_at` to be sent again.
    Backoff,
    /// Waits for a response, until `next_at`.
    Sent,
    /// Its outcome is being written down.
    Ending,
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

/// A call in its place in the ring. What nearly every call needs fits two cache lines; the rest is
/// [`Rare`].
#[derive(Debug)]
pub(super) struct Call {
    pub(super) state: CallState,
    pub(super) caller: Caller,
    pub(super) kind: Kind,
    pub(super) method: MethodId,
    /// Where the latest attempt went.
    pub(super) endpoint: EndpointId,
    /// The latest attempt that was sent; 0 before the first.
    pub(super) attempts: u32,
    /// Whose session it was sent in; calls that are over may outlive theirs.
    pub(super) client: ClientId,
    pub(super) made_at: Time,
    pub(super) sent_at: Time,
    pub(super) next_at: Time,
    pub(super) deadline: Time,
    /// The encoded arguments; once complete, the encoded result.
    pub(super) buffer: Vec<u8>,
    pub(super) outcome: Option<CallOutcome>,
    pub(super) waker: Option<Waker>,
    rare: Option<Box<Rare>>,
}

/// What few calls need: those with options, and those that were not answered at their first send.
#[derive(Debug)]
pub(super) struct Rare {
    options: CallOptions,
    /// How many of the attempts were refused.
    pub(super) refused: u32,
    /// The latest attempt that was refused.
    pub(super) last_refused: Attempt,
    /// What was refused last.
    pub(super) refusal: Option<(RefusalReason, String)>,
    /// From now on, do not run it: find out how it ended, or end it.
    pub(super) settle: bool,
    /// Time-outs in a row with no answer of any kind to this call.
    pub(super) silent: u32,
    /// The server has said that it runs the latest attempt: the next send only asks again.
    pub(super) in_progress: bool,
    /// The send before the latest, if there was one.
    sent_before: Time,
    /// When the run was asked for that will answer: at the latest send, or, if that has only joined
    /// a run, at the send before. Measured from the join, a slow server would look fast.
    asked_at: Time,
    /// The endpoint has said that the call runs there.
    runs_there: bool,
    pub(super) hedge_at: Time,
}

/// What is known of a call when it is made.
pub(super) struct NewCall {
    pub(super) kind: Kind,
    pub(super) method: MethodId,
    /// `None`: as usual.
    pub(super) options: Option<Box<CallOptions>>,
    pub(super) client: ClientId,
    pub(super) made_at: Time,
    pub(super) deadline: Time,
    /// The encoded arguments.
    pub(super) arguments: Vec<u8>,
    /// Whom to wake when it has ended.
    pub(super) waker: Option<Waker>,
}

impl Rare {
    /// Nothing out of the usual, for a call that was never sent.
    const NONE: Rare = Rare {
        options: CallOptions::USUAL,
        refused: 0,
        last_refused: Attempt(0),
        refusal: None,
        settle: false,
        silent: 0,
        in_progress: false,
        sent_before: Time::ZERO,
        asked_at: Time::ZERO,
        runs_there: false,
        hedge_at: Time::NEVER,
    };
}

impl Call {
    /// No call: what an unused place of the ring holds.
    pub(super) fn vacant() -> Call {
        Call {
            state: CallState::Vacant,
            caller: Caller::Dropped,
            kind: Kind::Plain,
            method: MethodId(0),
            endpoint: EndpointId(0),
            attempts: 0,
            client: ClientId(0),
            made_at: Time::ZERO,
            sent_at: Time::ZERO,
            next_at: Time::NEVER,
            deadline: Time::NEVER,
            buffer: Vec::new(),
            outcome: None,
            waker: None,
            rare: None,
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
            endpoint,
            attempts,
            client,
            made_at,
            sent_at,
            next_at,
            deadline,
            buffer,
            outcome,
            waker,
            rare,
        } = self;
        (*state, *caller) = (CallState::Queued, Caller::Waiting);
        (*kind, *method, *endpoint) = (new.kind, new.method, EndpointId(0));
        (*attempts, *client) = (0, new.client);
        (*made_at, *sent_at) = (new.made_at, new.made_at);
        (*next_at, *deadline) = (Time::NEVER, new.deadline);
        *buffer = new.arguments;
        (*outcome, *waker) = (None, new.waker);
        *rare = new.options.map(|options| Box::new(Rare { options: *options, ..Rare::NONE }));
    }

    /// Begins a call that was sent at once, but does not know the time yet: its deadline is what is
    /// `left` of it, in microseconds. Each part goes straight to its place: a struct of them would be
    /// written and read again.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub(super) fn begin_sent(
        &mut self,
        kind: Kind,
        method: MethodId,
        endpoint: EndpointId,
        client: ClientId,
        left: u64,
        arguments: &mut Vec<u8>,
        waker: &Waker,
    ) {
        (self.state, self.caller, self.kind) = (CallState::Sent, Caller::Waiting, kind);
        (self.method, self.endpoint, self.attempts) = (method, endpoint, 1);
        (self.client, self.deadline) = (client, Time(left));
        (self.made_at, self.sent_at, self.next_at) = (Time::ZERO, Time::ZERO, Time::NEVER);
        self.buffer = std::mem::take(arguments);
        // Nearly always there is none, and to look costs less than to drop what may be anything.
        if self.outcome.is_some() {
            self.outcome = None;
        }
        (self.waker, self.rare) = (Some(waker.clone()), None);
    }

    /// The time of a call that was made without begins, and it waits until `next_at`.
    #[inline]
    pub(super) fn note_time(&mut self, now: Time, next_at: Time) {
        (self.made_at, self.sent_at, self.next_at) = (now, now, next_at);
        self.deadline = now.after(self.deadline.0);
        if let Some(rare) = &mut self.rare {
            rare.asked_at = now;
        }
    }

    /// What is out of the usual with the call.
    #[inline]
    pub(super) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(const { &Rare::NONE })
    }

    /// Notes something out of the usual.
    #[inline]
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        let asked_at = self.sent_at;
        self.rare.get_or_insert_with(|| Box::new(Rare { asked_at, ..Rare::NONE }))
    }

    #[inline]
    pub(super) fn options(&self) -> &CallOptions {
        &self.rare().options
    }

    /// From when on the time is measured that the answer to the latest attempt takes.
    #[inline]
    pub(super) fn asked_at(&self) -> Time {
        self.rare.as_ref().map_or(self.sent_at, |rare| rare.asked_at)
    }

    /// Still without an outcome.
    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        !matches!(self.state, CallState::Vacant | CallState::Ending | CallState::Complete)
    }

    /// Over: it may be acknowledged.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, CallState::Vacant | CallState::Complete)
    }

    /// Whether it is certain that no attempt took effect: each was refused, or never sent.
    pub(super) fn was_never_run(&self) -> bool {
        let each = if kept(Rule::RefusalForItsAttempt) { u32::MAX } else { 1 };
        self.rare().refused >= self.attempts.min(each)
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
        if self.attempts > 1 || self.rare.is_some() {
            let (same_endpoint, sent_at) = (self.endpoint == endpoint, self.sent_at);
            let rare = self.rare_mut();
            rare.runs_there &= same_endpoint;
            if !rare.runs_there {
                rare.asked_at = now;
            }
            rare.sent_before = sent_at;
            rare.in_progress = false;
        }
        self.state = CallState::Sent;
        self.client = client;
        self.endpoint = endpoint;
        self.sent_at = now;
        self.next_at = next_at;
    }

    /// Whether it was sent once, to this endpoint, with nothing out of the usual, and is waited for.
    #[inline]
    pub(super) fn is_usual_at(&self, endpoint: EndpointId) -> bool {
        self.state == CallState::Sent
            && self.caller == Caller::Waiting
            && self.endpoint == endpoint
            && self.attempts == 1
            && self.rare.is_none()
    }

    /// Ends it for its waiting caller, who is to be woken.
    #[inline]
    pub(super) fn hand_over(&mut self, outcome: CallOutcome, payload: &[u8]) -> Option<Waker> {
        self.buffer.clear();
        self.buffer.extend_from_slice(payload);
        self.state = CallState::Complete;
        self.outcome = Some(outcome);
        self.waker.take()
    }

    /// An answer of some kind has come to it.
    #[inline]
    pub(super) fn note_heard(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.silent = 0;
        }
    }

    /// The endpoint runs the latest attempt, and is asked again at `next_at`.
    pub(super) fn note_in_progress(&mut self, next_at: Time) {
        self.next_at = next_at;
        let may_have_joined = self.attempts > 1;
        let rare = self.rare_mut();
        rare.in_progress = true;
        if !rare.runs_there {
            rare.runs_there = true;
            if may_have_joined {
                rare.asked_at = rare.sent_before;
            }
        }
    }

    /// It is over, and nobody will ask for it.
    pub(super) fn vacate(&mut self) {
        self.state = CallState::Vacant;
        self.buffer = Vec::new();
        self.rare = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_call_fits_two_cache_lines() {
        assert!(size_of::<Call>() <= 128, "{}", size_of::<Call>());
    }

    const HERE: EndpointId = EndpointId(0);
    const THERE: EndpointId = EndpointId(1);

    /// A call that was made at 1, and not sent yet.
    fn made(options: Option<CallOptions>) -> Call {
        let mut call = Call::vacant();
        call.begin(NewCall {
            kind: Kind::Write,
            method: MethodId(0),
            options: options.map(Box::new),
            client: ClientId(1),
            made_at: Time(1),
            deadline: Time::NEVER,
            arguments: Vec::new(),
            waker: None,
        });
        call
    }

    fn send(call: &mut Call, now: u64, endpoint: EndpointId) {
        call.attempts += 1;
        call.note_sent(Time(now), endpoint, ClientId(1), Time(now + 5));
    }

    #[test]
    fn a_usual_call_needs_nothing_rare() {
        let mut call = made(None);
        send(&mut call, 10, HERE);
        assert!(call.rare.is_none());
        assert_eq!(call.asked_at(), Time(10));
    }

    #[test]
    fn an_answer_is_measured_from_the_latest_send() {
        let mut call = made(Some(CallOptions::USUAL));
        send(&mut call, 10, HERE);
        assert_eq!(call.asked_at(), Time(10), "not from when it was made");
        send(&mut call, 20, HERE);
        assert_eq!(call.asked_at(), Time(20));
        send(&mut call, 30, THERE);
        assert_eq!(call.asked_at(), Time(30));
    }

    #[test]
    fn an_answer_of_a_run_that_was_joined_is_measured_from_the_send_before() {
        let mut call = made(None);
        send(&mut call, 10, HERE);
        send(&mut call, 20, HERE);
        assert_eq!(call.asked_at(), Time(20), "nothing says yet that it runs");
        call.note_in_progress(Time(30));
        assert_eq!(call.asked_at(), Time(10));
        send(&mut call, 30, HERE);
        call.note_in_progress(Time(40));
        assert_eq!(call.asked_at(), Time(10), "however often it is asked for");
        send(&mut call, 40, THERE);
        assert_eq!(call.asked_at(), Time(40), "another server runs it anew");
    }

    #[test]
    fn a_first_send_has_joined_no_run() {
        for options in [None, Some(CallOptions::USUAL)] {
            let mut call = made(options);
            send(&mut call, 10, HERE);
            call.note_in_progress(Time(20));
            assert_eq!(call.asked_at(), Time(10), "not from when it was made");
        }
    }

    #[test]
    fn a_call_without_a_time_is_measured_from_when_it_is_told_one() {
        for is_unusual in [false, true] {
            let (endpoint, client, mut none) = (HERE, ClientId(1), Vec::new());
            let mut call = Call::vacant();
            let (kind, method, waker) = (Kind::Write, MethodId(0), Waker::noop());
            call.begin_sent(kind, method, endpoint, client, 5, &mut none, waker);
            if is_unusual {
                call.rare_mut().settle = true;
            }
            call.note_time(Time(10), Time(20));
            assert_eq!(call.asked_at(), Time(10));
            assert_eq!(call.deadline, Time(15));
        }
    }

    #[test]
    fn a_call_keeps_its_options() {
        let call = made(Some(CallOptions { max_attempts: 3, ..CallOptions::USUAL }));
        assert_eq!(call.options().max_attempts, 3);
    }

    #[test]
    fn any_answer_ends_a_row_of_silent_time_outs() {
        let mut call = made(None);
        call.rare_mut().silent = 3;
        call.note_heard();
        assert_eq!(call.rare().silent, 0);
    }

    #[test]
    fn a_call_was_never_run_if_each_of_its_attempts_was_refused() {
        let mut call = made(None);
        assert!(call.was_never_run());
        send(&mut call, 10, HERE);
        assert!(!call.was_never_run());
        call.rare_mut().refused = 1;
        assert!(call.was_never_run());
        send(&mut call, 20, HERE);
        assert!(!call.was_never_run(), "a refusal speaks only for its attempt");
    }
}
