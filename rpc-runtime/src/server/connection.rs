//! One connection after its handshake: reads frames, runs calls, writes responses.
//!
//! A call's business is polled once, here, as soon as its request is decoded; most end there, and
//! cost neither a task nor an allocation of ours. One that must wait is moved to a task of its own.
//! All responses of one wake-up leave in one write.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::Sleep;
use tracing::Instrument as _;

use super::Shared;
use super::execute::{Job, JobCall, PlainJob};
use super::sessions::{Run, Session};
use super::stats::add;
use crate::id::{ArgumentHash, CallId, Identity, Seq};
use crate::io_buffer;
use crate::protocol::server::{Admission, AgreedMethod, Agreement, Answer, Incoming, Stage};
use crate::service::{Kind, Request, Service, ServiceCall};
use crate::store::{CallRef, Outcome};
use crate::time::{Time, WallTime};
use crate::transport::Io;
use crate::wire::WireError;
use crate::wire::frame::FrameDecoder;
use crate::wire::request::{ClientFrame, RequestHeader};
use crate::wire::response::{RefusalReason, ServerFrame, Status};

/// Reads and writes in one go before other connections get their turn.
const ROUNDS_PER_WAKE_UP: usize = 16;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The peer closed it, or it broke.
    Disconnected,
    /// The session has a later connection, or a later incarnation.
    Superseded,
    /// The client has closed its session.
    SessionOver,
    /// The server is being shut down, and nothing runs here any more.
    Drained,
    /// The peer does not keep to the protocol.
    Misbehaved(WireError),
}

/// A connection that speaks for a session. `F` is the future of a running write or read, `P` that of
/// a plain call.
pub(super) struct Connection<S: Service, F, P> {
    server: Arc<Shared<S>>,
    session: Arc<Session>,
    number: u64,
    agreement: Agreement,
    io: Box<dyn Io>,
    decoder: FrameDecoder,
    /// What is being written, from `written` on.
    writing: Vec<u8>,
    written: usize,
    timer: Option<Pin<Box<Sleep>>>,
    timer_at: Time,
    /// Where calls are polled first; reused for every call that ends at once.
    stage: Pin<Box<Option<F>>>,
    plain_stage: Pin<Box<Option<P>>>,
    make: fn(Job<S>) -> F,
    make_plain: fn(PlainJob<S>) -> P,
}

impl<S, F, P> Connection<S, F, P>
where
    S: Service,
    F: Future<Output = Answer> + Send + 'static,
    P: Future<Output = Answer> + Send + 'static,
{
    pub(super) fn new(
        server: Arc<Shared<S>>,
        (session, number): (Arc<Session>, u64),
        agreement: Agreement,
        io: Box<dyn Io>,
        decoder: FrameDecoder,
        make: fn(Job<S>) -> F,
        make_plain: fn(PlainJob<S>) -> P,
    ) -> Connection<S, F, P> {
        Connection {
            server,
            session,
            number,
            agreement,
            io,
            decoder,
            writing: Vec::new(),
            written: 0,
            timer: None,
            timer_at: Time::NEVER,
            stage: Box::pin(None),
            plain_stage: Box::pin(None),
            make,
            make_plain,
        }
    }

    /// Serves the connection to its end. `rest` is what came in behind the hello.
    pub(super) async fn run(mut self, rest: Vec<u8>) -> (Ended, Box<dyn Io>) {
        let mut rest = Some(rest).filter(|rest| !rest.is_empty());
        let ended = std::future::poll_fn(|context| {
            if let Some(rest) = rest.take()
                && let Err(ended) = self.handle_bytes(context, &rest)
            {
                return Poll::Ready(ended);
            }
            self.poll(context)
        })
        .await;
        self.session.detach(self.number, self.server.clock.now());
        (ended, self.io)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..ROUNDS_PER_WAKE_UP {
            if let Err(ended) = self.handle_turn(context) {
                return Poll::Ready(ended);
            }
            match self.poll_write(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Disconnected),
                Poll::Pending if self.is_choked() => return Poll::Pending,
                Poll::Pending => {}
            }
            if self.is_drained() {
                return Poll::Ready(Ended::Drained);
            }
            if let Err(ended) = ready!(self.poll_read(context)) {
                return Poll::Ready(ended);
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Once per round: register for output, pass the time, do what the table asks for.
    fn handle_turn(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        let timer_fired = match &mut self.timer {
            Some(timer) if self.timer_at < Time::NEVER => timer.as_mut().poll(context).is_ready(),
            _ => false,
        };
        let mut duties = Vec::new();
        let next = {
            let mut state = self.session.lock();
            if !state.register(self.number, context.waker()) {
                return Err(Ended::Superseded);
            }
            if timer_fired {
                self.timer_at = Time::NEVER;
                state.table.handle_timeout(self.server.clock.now());
            }
            while let Some(duty) = state.next_duty(&self.server.counters) {
                duties.push(duty);
            }
            state.table.poll_timeout()
        };
        for duty in duties {
            self.server.perform(&self.session, duty);
        }
        self.arm(next, context);
        Ok(())
    }

    /// Sets the timer if it must fire earlier than it would. One that fires too early does no harm.
    fn arm(&mut self, next: Time, context: &mut Context<'_>) {
        if next >= self.timer_at {
            return;
        }
        self.timer_at = next;
        let at = self.server.clock.instant(next);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(context).is_ready()
        {
            context.waker().wake_by_ref();
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let mut scratch = io_buffer::take();
        let mut buffer = ReadBuf::new(&mut scratch);
        let polled = Pin::new(&mut self.io).poll_read(context, &mut buffer);
        let len = buffer.filled().len();
        let handled = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Err(Ended::Disconnected)),
            Poll::Ready(Ok(())) if len == 0 => Poll::Ready(Err(Ended::Disconnected)),
            Poll::Ready(Ok(())) => Poll::Ready(self.handle_bytes(context, &scratch[..len])),
        };
        io_buffer::put(scratch);
        handled
    }

    fn handle_bytes(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Result<(), Ended> {
        let now = self.server.clock.now();
        let mut input = bytes;
        self.session.with(|state| state.note_traffic(now));
        loop {
            let mut finished = Vec::new();
            let frame = self.decoder.next(&mut input, &mut finished).map_err(Ended::Misbehaved)?;
            let Some(frame) = frame else { return Ok(()) };
            match ClientFrame::decode(frame).map_err(Ended::Misbehaved)? {
                ClientFrame::Request(header, arguments) => {
                    self.handle_request(context, now, &header, arguments);
                }
                ClientFrame::Ack(ack) => self.session.with(|state| state.table.handle_ack(ack)),
                ClientFrame::Cancel(seq) => {
                    self.session.with(|state| state.table.handle_cancel(seq));
                }
                ClientFrame::Ping => {
                    self.session.with(|state| state.table.send(ServerFrame::Pong));
                }
                ClientFrame::Bye => return Err(Ended::SessionOver),
            }
        }
    }

    fn handle_request(
        &mut self,
        context: &mut Context<'_>,
        now: Time,
        header: &RequestHeader<'_>,
        arguments: &[u8],
    ) {
        add(&self.server.counters.requests, 1);
        if header.attempt.is_retry() {
            add(&self.server.counters.retries, 1);
        }
        let Some(method) = self.agreement.method(header.method) else {
            let status = Status::Refused(RefusalReason::BadArguments);
            let why = b"the handshake named no method of this number";
            return self.session.with(|state| {
                state.table.respond(header.seq, header.attempt, false, status, why);
            });
        };
        let limit = self.server.config.max_deadline;
        let deadline = header.deadline.unwrap_or(self.agreement.default_deadline).min(limit);
        let request = Incoming {
            seq: header.seq,
            attempt: header.attempt,
            kind: method.kind,
            hash: ArgumentHash::of(method.name_hash, arguments),
            deadline: now + deadline,
            settle: header.settle,
        };
        let (admission, watermark, buffer) = self.session.with(|state| {
            if let Some(ack) = header.ack {
                state.table.handle_ack(ack);
            }
            let resent = state.table.resent();
            let admission = state.table.handle_request(now, &request);
            if state.table.resent() > resent {
                add(&self.server.counters.replayed_from_table, 1);
            }
            let is_plain_run = matches!(admission, Admission::Run) && method.kind == Kind::Plain;
            let buffer = if is_plain_run { state.table.buffer() } else { Vec::new() };
            (admission, state.table.watermark(), buffer)
        });
        let order = Order { request, method, arguments, watermark, age: header.age };
        match admission {
            Admission::Handled => {}
            Admission::Run => self.start(context, now, &order, buffer),
            Admission::Record(outcome) => self.record(&order, Stage::Recording, outcome),
            Admission::Settle(reason) => {
                self.record(&order, Stage::Aborting, Outcome::Aborted(reason));
            }
        }
    }

    /// Runs a call: here if it ends at once, else in a task.
    fn start(&mut self, context: &mut Context<'_>, now: Time, order: &Order<'_>, buffer: Vec<u8>) {
        let decoded = match self.admit(order) {
            Ok(decoded) => decoded,
            Err(refused) => return self.finish_here(now, order, refused),
        };
        let span = tracing::debug_span!(
            "call",
            method = self.server.method_name(order.method.id),
            id = %CallId { client: self.session.id.client, seq: order.request.seq },
            attempt = order.request.attempt.0,
        );
        let (service, max_result) = (Arc::clone(&self.server.service), self.agreement.max_result());
        let call = match decoded {
            Request::Plain(decoded) => {
                let job = PlainJob { service, decoded, buffer, max_result };
                let run = (self.make_plain)(job);
                return match launch(&mut self.plain_stage, run, &span, context) {
                    Ok(answer) => self.finish_here(now, order, answer),
                    Err(parked) => self.park(parked, span, order.request.seq, None),
                };
            }
            Request::Read(decoded) => {
                JobCall::Read { decoded, arguments: Bytes::copy_from_slice(order.arguments) }
            }
            Request::Write(decoded) => match self.call_ref(order, &decoded) {
                Ok(call) => JobCall::Write {
                    decoded,
                    arguments: Bytes::copy_from_slice(order.arguments),
                    call,
                    retry: order.request.attempt.is_retry(),
                },
                Err(error) => return self.finish_here(now, order, bad_arguments(&error)),
            },
        };
        let record_under = call.call_ref().cloned();
        let store = Arc::clone(&self.server.store);
        let run = (self.make)(Job { service, store, method: order.method.id, call, max_result });
        match launch(&mut self.stage, run, &span, context) {
            Ok(answer) => self.finish_here(now, order, answer),
            Err(parked) => self.park(parked, span, order.request.seq, record_under),
        }
    }

    fn admit(&self, order: &Order<'_>) -> Result<ServiceCall<S>, Answer> {
        let server = &self.server;
        if server.running.load(Ordering::Relaxed) >= server.config.max_running {
            let why = "the server has as many calls running as its limits allow";
            return Err(Answer::Refused(RefusalReason::Overloaded, why.to_owned()));
        }
        S::decode(order.method.id, order.arguments).map_err(|error| bad_arguments(&error))
    }

    /// Moves a call that must wait to a task of its own.
    fn park<R: Future<Output = Answer> + Send + 'static>(
        &self,
        mut parked: Pin<Box<Option<R>>>,
        span: tracing::Span,
        seq: Seq,
        call: Option<CallRef>,
    ) {
        let (server, session) = (Arc::clone(&self.server), Arc::clone(&self.session));
        let counted = server.count_running();
        let record_under = call.clone();
        let task = async move {
            let answer = std::future::poll_fn(|context| poll_stage(parked.as_mut(), context)).await;
            drop(counted);
            server.finish(&session, seq, Stage::Business, answer, record_under).await;
        };
        let task = tokio::spawn(task.instrument(span)).abort_handle();
        self.session.with(|state| state.table.handle_started(seq, Run { task, call }));
    }

    fn call_ref(
        &self,
        order: &Order<'_>,
        write: &S::Write,
    ) -> Result<CallRef, crate::store::KeyError> {
        Ok(CallRef {
            id: CallId { client: self.session.id.client, seq: order.request.seq },
            incarnation: self.session.incarnation(),
            attempt: order.request.attempt,
            born: WallTime::now() - order.age,
            hash: order.request.hash,
            anchor: S::anchor(write)?,
            watermark: order.watermark,
        })
    }

    /// Takes the answer of a call that ended in this very wake-up.
    fn finish_here(&mut self, now: Time, order: &Order<'_>, answer: Answer) {
        self.server.counters.count(&answer);
        let seq = order.request.seq;
        let must_record = self
            .session
            .with(|state| state.table.handle_finished(now, seq, Stage::Business, answer));
        if let Some(outcome) = must_record {
            self.record(order, Stage::Recording, outcome);
        }
    }

    /// Records an outcome without running the business.
    fn record(&self, order: &Order<'_>, stage: Stage, outcome: Outcome) {
        let seq = order.request.seq;
        let call = match S::decode(order.method.id, order.arguments) {
            Ok(Request::Write(write)) => {
                self.call_ref(order, &write).map_err(|error| error.to_string())
            }
            Ok(_) => Err("only writes are recorded".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match call {
            Ok(call) => self.server.spawn_record(&self.session, seq, stage, call, outcome),
            Err(error) => {
                let answer = Answer::Refused(RefusalReason::BadArguments, error);
                let now = self.server.clock.now();
                self.session.finish(now, seq, stage, answer, &self.server.counters);
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                self.written = 0;
                io_buffer::shed(&mut self.writing);
                if !self.session.with(|state| state.table.poll_transmit(&mut self.writing)) {
                    return Poll::Ready(Ok(()));
                }
            }
            let rest = &self.writing[self.written..];
            match ready!(Pin::new(&mut self.io).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
    }

    /// Whether the peer takes responses so slowly that no more requests are read from it.
    fn is_choked(&self) -> bool {
        let waiting = self.session.with(|state| state.table.output_len());
        waiting > self.server.config.max_output_bytes
    }

    fn is_drained(&self) -> bool {
        self.server.draining.load(Ordering::Acquire)
            && self.written == self.writing.len()
            && self.session.with(|state| state.table.running() == 0 && !state.table.has_output())
    }
}

/// A request on its way to being run.
struct Order<'a> {
    request: Incoming,
    method: AgreedMethod,
    arguments: &'a [u8],
    watermark: Seq,
    /// How long ago the call was first sent.
    age: Duration,
}

/// Polls a call once. One that must wait is handed back, and leaves a new stage behind.
fn launch<F: Future>(
    stage: &mut Pin<Box<Option<F>>>,
    run: F,
    span: &tracing::Span,
    context: &mut Context<'_>,
) -> Result<F::Output, Pin<Box<Option<F>>>> {
    stage.set(Some(run));
    match span.in_scope(|| poll_stage(stage.as_mut(), context)) {
        Poll::Ready(answer) => {
            stage.set(None);
            Ok(answer)
        }
        Poll::Pending => Err(std::mem::replace(stage, Box::pin(None))),
    }
}

fn bad_arguments(error: &dyn std::fmt::Display) -> Answer {
    Answer::Refused(RefusalReason::BadArguments, error.to_string())
}

fn poll_stage<F: Future>(stage: Pin<&mut Option<F>>, context: &mut Context<'_>) -> Poll<F::Output> {
    stage.as_pin_mut().expect("a call is on the stage").poll(context)
}

/// Who the connection's peer is and where it comes from, for logs.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) identity: Identity,
    pub(super) address: String,
}
