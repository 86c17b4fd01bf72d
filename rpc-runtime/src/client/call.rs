//! A call: a builder for its options that is a future of its result.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Client, Hedge};
use crate::error::{CallError, NotExecuted, Unknown};
use crate::id::{CallId, MethodId, Seq};
use crate::io_buffer;
use crate::lend::Arguments;
use crate::protocol::client::{CallOptions, CallOutcome, Core, NotStarted, Settled, StartError};
use crate::schema::Message;
use crate::service::{DecodeError, Kind, decode_value, encode_value};
use crate::time::{Time, micros};
use crate::trace::TraceContext;

/// A call of `T` or `E` with the arguments `A`: set its options, then await it.
///
/// It is made when it is first polled. Dropping it then tells the server that nobody waits; whether
/// it took effect is settled in the background, so that its id never stays open.
#[must_use = "a call is not made until it is awaited"]
pub struct Call<A, T, E> {
    client: Client,
    method: MethodId,
    kind: Kind,
    /// How long it may be tried, in microseconds.
    deadline: u64,
    /// What few calls ask for; boxed, since calls are moved.
    wishes: Option<Box<Wishes>>,
    stage: Stage<A>,
    result: PhantomData<fn() -> Result<T, E>>,
}

/// How a call is to be made, where that is not as usual.
struct Wishes {
    options: CallOptions,
    which: Which,
    /// Only once the call is made, and if somebody listens.
    span: Option<tracing::Span>,
}

/// Which call is meant.
enum Which {
    /// A new one.
    New,
    /// The one of this id.
    Known(CallId),
    /// The one of this name, or a new one.
    Named(String),
}

/// How far a call's future has come.
enum Stage<A> {
    Prepared(A),
    /// Encoded, but the window was full.
    Waiting(Vec<u8>, Time),
    InFlight(Seq),
    Over,
}

// The arguments are only ever moved out, never pinned.
impl<A, T, E> Unpin for Call<A, T, E> {}

impl<A: Arguments, T: Message, E: Message> Call<A, T, E> {
    pub(super) fn new(client: Client, method: MethodId, kind: Kind, arguments: A) -> Self {
        let deadline = client.shared().deadline;
        Call {
            client,
            method,
            kind,
            deadline,
            wishes: None,
            stage: Stage::Prepared(arguments),
            result: PhantomData,
        }
    }

    /// How long the call may be tried. Past it, the call is ended, and its future says how within
    /// [`ClientConfig::settle_grace`](crate::ClientConfig::settle_grace).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = micros(deadline);
        self
    }

    /// The most sends, the first among them; at least 1. Default: as many as the deadline and the
    /// retry budget allow. To find out how a call ended is not limited by it.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.wishes().options.max_attempts = attempts.max(1);
        self
    }

    /// Asks a second server before the first one's time is up.
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.wishes().options.hedge = hedge;
        self
    }

    /// Sends a trace context along.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.wishes().options.trace = Some(trace);
        self
    }

    /// Asks again for a call whose outcome is unknown: give the id of
    /// [`CallError::OutcomeUnknown`], and the arguments of that call. If it took effect, this
    /// returns its result; if not, it may still take effect now, once.
    pub fn ask_again(mut self, id: CallId) -> Self {
        self.wishes().which = Which::Known(id);
        self
    }

    /// Makes the call under a name, as often as this is said: in a client with a
    /// [journal](super::ClientBuilder::journal), in which a name stands for one call, also across a
    /// crash. If the call was made before, this waits for its outcome, or returns it if it is
    /// known. If it was not executed, the name is free again, and the call is made anew.
    ///
    /// Take what the business calls it: `"invoice 4711"`. A name has 1 to 256 bytes, and stays until
    /// it is [forgotten](super::Client::forget). The arguments must be those of the first time.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.wishes().which = Which::Named(name.into());
        self
    }

    fn wishes(&mut self) -> &mut Wishes {
        let usual =
            || Box::new(Wishes { options: CallOptions::USUAL, which: Which::New, span: None });
        self.wishes.get_or_insert_with(usual)
    }

    /// Makes a call for which nothing is out of the usual. Gives the encoded arguments back where that
    /// is not so, if they could be encoded.
    #[inline]
    fn start_usual(&mut self, context: &mut Context<'_>) -> Result<(), Option<Vec<u8>>> {
        let Stage::Prepared(arguments) = &self.stage else { return Err(None) };
        if self.wishes.is_some() || self.deadline == 0 {
            return Err(None);
        }
        // The arguments are encoded where they lie.
        let mut encoded = io_buffer::take_message();
        encode_value(arguments, &mut encoded).map_err(|_| None)?;
        let (method, kind, deadline) = (self.method, self.kind, self.deadline);
        let waker = context.waker();
        // Lent, and taken straight to where the core keeps it: what is moved in between is waited for.
        let begin =
            |core: &mut Core| core.start_untimed(method, kind, deadline, &mut encoded, waker);
        match self.client.shared().with(begin) {
            Some(seq) => {
                self.note_started(seq);
                Ok(())
            }
            None => Err(Some(encoded)),
        }
    }

    /// Makes the call, if there is room for it, however unusual it is.
    #[cold]
    fn poll_start(
        &mut self,
        context: &mut Context<'_>,
        encoded: Option<Vec<u8>>,
    ) -> Poll<Result<T, CallError<E>>> {
        let polled = match (&mut self.stage, encoded) {
            (Stage::Prepared(_), Some(encoded)) => self.start_timed(context, encoded, None),
            (Stage::Prepared(arguments), None) => {
                let mut encoded = io_buffer::take_message();
                match encode_value(arguments, &mut encoded) {
                    Ok(()) => self.start_timed(context, encoded, None),
                    Err(error) => {
                        let reason = NotExecuted::Encode(error.to_string());
                        Poll::Ready(Err(CallError::NotExecuted(reason)))
                    }
                }
            }
            (Stage::Waiting(encoded, deadline), _) => {
                let (encoded, deadline) = (std::mem::take(encoded), *deadline);
                self.start_timed(context, encoded, Some(deadline))
            }
            (Stage::InFlight(_), _) => unreachable!("it has started"),
            (Stage::Over, _) => panic!("a finished call is not polled again"),
        };
        if polled.is_ready() {
            self.stage = Stage::Over;
        }
        polled
    }

    /// Hands the encoded call to the core, which is told the time.
    fn start_timed(
        &mut self,
        context: &mut Context<'_>,
        arguments: Vec<u8>,
        deadline: Option<Time>,
    ) -> Poll<Result<T, CallError<E>>> {
        let now = self.client.shared().clock.now();
        let deadline = deadline.unwrap_or(now.after(self.deadline));
        let which = self.wishes.as_ref().map_or(&Which::New, |wishes| &wishes.which);
        // Any other may have been made before: only the core knows.
        if deadline <= now && matches!(which, Which::New) {
            io_buffer::put_message(arguments);
            return Poll::Ready(Err(CallError::NotExecuted(NotExecuted::Deadline)));
        }
        let (method, kind) = (self.method, self.kind);
        let options = self.wishes.as_ref().map(|wishes| Box::new(wishes.options));
        let waker = context.waker();
        let started = self.client.shared().with(|core| {
            let started = match which {
                Which::New => core
                    .start(now, method, kind, options, deadline, arguments, waker)
                    .map_err(NotStarted::Start),
                Which::Known(id) => core
                    .ask_again(now, *id, method, deadline, &arguments, waker)
                    .map_err(NotStarted::Settled),
                Which::Named(name) => {
                    core.start_named(now, name, method, kind, options, deadline, arguments, waker)
                }
            };
            if let Err(NotStarted::Start(StartError::WindowFull(_))) = &started {
                core.wait_for_room(deadline, waker.clone());
            }
            started
        });
        match started {
            Ok(seq) => {
                self.note_started(seq);
                Poll::Pending
            }
            Err(NotStarted::Settled(settled)) => Poll::Ready(self.finish(settled)),
            Err(NotStarted::Start(StartError::WindowFull(arguments))) => {
                self.stage = Stage::Waiting(arguments, deadline);
                Poll::Pending
            }
            Err(NotStarted::Start(StartError::Refused(reason))) => {
                Poll::Ready(Err(CallError::NotExecuted(reason)))
            }
        }
    }

    #[inline]
    fn note_started(&mut self, seq: Seq) {
        self.stage = Stage::InFlight(seq);
        if tracing::Level::DEBUG <= tracing::level_filters::LevelFilter::current() {
            self.open_span(seq);
        }
    }

    #[cold]
    fn open_span(&mut self, seq: Seq) {
        let span = tracing::debug_span!(
            "rpc",
            method = self.client.shared().method_name(self.method),
            id = %self.client.shared().with(|core| core.call_id(seq)),
            attempts = tracing::field::Empty,
        );
        if !span.is_disabled() {
            self.wishes().span = Some(span);
        }
    }

    /// What most calls end with: a value, and nobody asks how it came about.
    /// [`poll_result`](Call::poll_result) knows of everything else.
    #[inline]
    fn take_value(&mut self, seq: Seq) -> Option<Result<T, Box<CallError<E>>>> {
        if self.wishes.is_some() {
            return None;
        }
        let (payload, client) = self.client.shared().look(|core| core.take_success(seq))?;
        self.stage = Stage::Over;
        let value = decode_value(&payload);
        io_buffer::put_message(payload);
        Some(value.map_err(|error| Box::new(bad_response(CallId { client, seq }, &error))))
    }

    /// How the call ended, however that is.
    #[inline(never)]
    fn poll_result(
        &mut self,
        context: &mut Context<'_>,
        seq: Seq,
    ) -> Poll<Result<T, CallError<E>>> {
        let polled = self.client.shared().look(|core| core.poll_call(seq, context.waker()));
        polled.map(|settled| {
            if let Some(span) = self.wishes.as_ref().and_then(|wishes| wishes.span.as_ref()) {
                span.record("attempts", settled.attempts);
            }
            self.finish(settled)
        })
    }

    fn finish(&mut self, settled: Settled) -> Result<T, CallError<E>> {
        self.stage = Stage::Over;
        let Settled { id, outcome, payload, .. } = settled;
        let result = match outcome {
            CallOutcome::Success => {
                decode_value(&payload).map_err(|error| bad_response(id, &error))
            }
            CallOutcome::BusinessError => match decode_value(&payload) {
                Ok(error) => Err(CallError::Business(error)),
                Err(error) => Err(bad_response(id, &error)),
            },
            CallOutcome::NotExecuted(reason) => Err(CallError::NotExecuted(*reason)),
            CallOutcome::Unknown(reason) => Err(CallError::OutcomeUnknown(id, *reason)),
        };
        io_buffer::put_message(payload);
        result
    }
}

impl<A: Arguments, T: Message, E: Message> Future for Call<A, T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.get_mut();
        if let Stage::InFlight(seq) = call.stage {
            return match call.take_value(seq) {
                Some(Ok(value)) => Poll::Ready(Ok(value)),
                Some(Err(error)) => Poll::Ready(Err(*error)),
                None => call.poll_result(context, seq),
            };
        }
        match call.start_usual(context) {
            Ok(()) => Poll::Pending,
            Err(encoded) => call.poll_start(context, encoded),
        }
    }
}

#[cold]
fn bad_response<E>(id: CallId, error: &DecodeError) -> CallError<E> {
    CallError::OutcomeUnknown(id, Unknown::BadResponse(error.to_string()))
}

impl<A, T, E> Drop for Call<A, T, E> {
    fn drop(&mut self) {
        if let Stage::InFlight(seq) = self.stage {
            self.client.shared().with(|core| core.handle_dropped(seq));
        }
    }
}

impl<A, T, E> std::fmt::Debug for Call<A, T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
