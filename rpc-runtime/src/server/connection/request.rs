//! What becomes of a request: answered from the table, run here and now, or moved to a task.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use tracing::Instrument as _;

use super::super::execute::{Job, JobCall, PlainJob};
use super::super::sessions::{Run, Session, State};
use super::{Connection, Moment};
use crate::id::{ArgumentHash, CallId, Seq};
use crate::io_buffer;
use crate::protocol::server::{Admission, AgreedMethod, Answer, Incoming, RunNumber};
use crate::service::{Kind, Request, Service};
use crate::store::{CallRef, DocKey, KeyError, Outcome};
use crate::wire::request::RequestHeader;
use crate::wire::response::{RefusalReason, Status};

/// A request that was admitted, on its way to being answered.
pub(super) struct Order<'a> {
    request: Incoming,
    method: AgreedMethod,
    arguments: &'a [u8],
    watermark: Seq,
    /// How long ago the call was first sent.
    age: Duration,
    task: Task,
}

/// What is to be done for a request.
enum Task {
    /// Run it, with this buffer for the result of a plain call.
    Run(RunNumber, Vec<u8>),
    /// Record this outcome.
    Record(RunNumber, Outcome),
    /// Answer it.
    Answer(RunNumber, Answer),
    /// Nothing more here: a task does it.
    Done,
}

thread_local! {
    /// An empty list of orders, for its memory.
    static ORDERS: Cell<Vec<Order<'static>>> = const { Cell::new(Vec::new()) };
}

/// An empty list of orders.
pub(super) fn take_orders<'a>() -> Vec<Order<'a>> {
    ORDERS.take()
}

/// Gives a list of orders back.
pub(super) fn put_orders(mut orders: Vec<Order<'_>>) {
    orders.clear();
    // Collecting nothing from a list keeps the memory of the list, whatever its orders borrowed from.
    ORDERS.set(orders.into_iter().map(|_| unreachable!("it is empty")).collect());
}

impl<S, F, P, M, N> Connection<S, F, P, M, N>
where
    S: Service,
    F: Future<Output = Answer> + Send + 'static,
    P: Future<Output = Answer> + Send + 'static,
    M: Fn(Job<S>) -> F,
    N: Fn(PlainJob<S>) -> P,
{
    /// Asks the table what becomes of a request. What the table alone cannot answer is put down.
    pub(super) fn admit<'a>(
        &mut self,
        state: &mut State,
        moment: &Moment,
        header: &RequestHeader<'_>,
        arguments: &'a [u8],
        orders: &mut Vec<Order<'a>>,
    ) {
        let Some(method) = self.agreement.method(header.method) else {
            let status = Status::Refused(RefusalReason::BadArguments);
            let why = b"the handshake named no method of this number";
            state.table.respond(header.seq, header.attempt, false, status, why);
            return;
        };
        if let Some(ack) = header.ack {
            state.table.handle_ack(ack);
        }
        let limit = self.server.config.max_deadline;
        let deadline = header.deadline.unwrap_or(self.agreement.default_deadline).min(limit);
        let request = Incoming {
            seq: header.seq,
            attempt: header.attempt,
            kind: method.kind,
            hash: ArgumentHash::of(method.name_hash, arguments),
            deadline: moment.now + deadline,
            settle: header.settle,
        };
        let (watermark, resent) = (state.table.watermark(), state.table.resent());
        let admission = state.table.handle_request(moment.now, &request);
        self.tally.requests += 1;
        self.tally.retries += u64::from(request.attempt.is_retry());
        self.tally.replayed_from_table += state.table.resent() - resent;
        let task = match admission {
            Admission::Handled => return,
            Admission::Run(run) if method.kind == Kind::Plain => {
                Task::Run(run, state.table.buffer())
            }
            Admission::Run(run) => Task::Run(run, Vec::new()),
            Admission::Record(run, outcome) => Task::Record(run, outcome),
            Admission::Settle(run, reason) => Task::Record(run, Outcome::Aborted(reason)),
        };
        orders.push(Order { request, method, arguments, watermark, age: header.age, task });
    }

    /// Runs what was admitted, then answers it. The session's lock comes in and goes out again, and
    /// is let go while the business runs.
    pub(super) fn carry_out<'s>(
        &mut self,
        context: &mut Context<'_>,
        session: &'s Session,
        state: MutexGuard<'s, State>,
        moment: &Moment,
        orders: &mut Vec<Order<'_>>,
    ) -> MutexGuard<'s, State> {
        if orders.is_empty() {
            return state;
        }
        drop(state);
        for order in orders.iter_mut() {
            match std::mem::replace(&mut order.task, Task::Done) {
                Task::Run(run, buffer) => {
                    if let Some(answer) = self.start(context, order, moment, run, buffer) {
                        self.tally.count(&answer);
                        order.task = Task::Answer(run, answer);
                    }
                }
                Task::Record(run, outcome) => self.record(order, moment, run, outcome),
                Task::Answer(..) | Task::Done => {}
            }
        }
        let mut state = session.lock();
        let mut must_record = false;
        for order in orders.iter_mut() {
            let Task::Answer(run, answer) = std::mem::replace(&mut order.task, Task::Done) else {
                continue;
            };
            let seq = order.request.seq;
            if let Some((run, outcome)) = state.table.handle_finished(moment.now, seq, run, answer)
            {
                order.task = Task::Record(run, outcome);
                must_record = true;
            }
        }
        if must_record {
            // Nothing but records is left: one more round, and none after it.
            return self.carry_out(context, session, state, moment, orders);
        }
        orders.clear();
        state
    }

    /// Runs a call: to its end if that comes at once, else in a task.
    fn start(
        &mut self,
        context: &mut Context<'_>,
        order: &Order<'_>,
        moment: &Moment,
        run: RunNumber,
        buffer: Vec<u8>,
    ) -> Option<Answer> {
        if let Some(refused) = self.refusal() {
            return Some(refused);
        }
        let decoded = match S::decode(order.method.id, order.arguments) {
            Ok(decoded) => decoded,
            Err(error) => return Some(bad_arguments(&error)),
        };
        let span = tracing::debug_span!(
            "call",
            method = self.server.method_name(order.method.id),
            id = %CallId { client: self.session.id.client, seq: order.request.seq },
            attempt = order.request.attempt.0,
        );
        let (backing, max_result) = (Arc::clone(&self.server.backing), self.agreement.max_result());
        let (call, anchor) = match decoded {
            Request::Plain(decoded) => {
                let job = PlainJob { backing, decoded, buffer, max_result };
                let (stage, make) = (&mut self.plain_stage, &self.make_plain);
                return match launch(stage, make, job, &span, context) {
                    Ok(answer) => Some(answer),
                    Err(parked) => self.park(parked, span, order.request.seq, run, None),
                };
            }
            Request::Read(decoded) => {
                let arguments = io_buffer::copy(order.arguments);
                (JobCall::Read { decoded: Some(decoded), arguments }, None)
            }
            Request::Write(decoded) => match self.anchor(&decoded) {
                Ok(anchor) => {
                    let arguments = io_buffer::copy(order.arguments);
                    let call = self.call_ref(order, moment, anchor.clone());
                    let retry = order.request.attempt.is_retry();
                    let decoded = Some(decoded);
                    (JobCall::Write { decoded, arguments, call, retry }, Some(anchor))
                }
                Err(error) => return Some(bad_arguments(&error)),
            },
        };
        let job = Job { backing, method: order.method.id, call, max_result };
        match launch(&mut self.stage, &self.make, job, &span, context) {
            Ok(answer) => Some(answer),
            Err(parked) => {
                let record_under = anchor.map(|anchor| self.call_ref(order, moment, anchor));
                self.park(parked, span, order.request.seq, run, record_under)
            }
        }
    }

    fn refusal(&self) -> Option<Answer> {
        let server = &self.server;
        if server.running.load(Ordering::Relaxed) < server.config.max_running {
            return None;
        }
        let why = "the server has as many calls running as its limits allow";
        Some(Answer::Refused(RefusalReason::Overloaded, why.to_owned()))
    }

    /// Moves a call that must wait to a task of its own.
    fn park<R: Future<Output = Answer> + Send + 'static>(
        &self,
        mut parked: Pin<Box<Option<R>>>,
        span: tracing::Span,
        seq: Seq,
        run: RunNumber,
        call: Option<CallRef>,
    ) -> Option<Answer> {
        let (server, session) = (Arc::clone(&self.server), Arc::clone(&self.session));
        let counted = server.count_running();
        let record_under = call.clone();
        let task = async move {
            let answer = std::future::poll_fn(|context| poll_stage(parked.as_mut(), context)).await;
            drop(counted);
            server.finish(&session, seq, run, answer, record_under).await;
        };
        let task = tokio::spawn(task.instrument(span)).abort_handle();
        self.session.with(|state| state.table.handle_started(seq, run, Run { task, call }));
        None
    }

    /// The anchor of a call, if the store has a use for one. That it can be a document's name holds
    /// for every store.
    fn anchor(&self, write: &S::Write) -> Result<Option<DocKey>, KeyError> {
        Ok(S::anchor(write)?.filter(|_| self.server.uses_anchors))
    }

    fn call_ref(&self, order: &Order<'_>, moment: &Moment, anchor: Option<DocKey>) -> CallRef {
        CallRef {
            id: CallId { client: self.session.id.client, seq: order.request.seq },
            incarnation: self.session.incarnation(),
            attempt: order.request.attempt,
            born: moment.wall(&self.server.wall_clock) - order.age,
            hash: order.request.hash,
            anchor,
            watermark: order.watermark,
        }
    }

    /// Records an outcome without running the business.
    fn record(&self, order: &Order<'_>, moment: &Moment, run: RunNumber, outcome: Outcome) {
        let seq = order.request.seq;
        let call = match S::decode(order.method.id, order.arguments) {
            Ok(Request::Write(write)) => match self.anchor(&write) {
                Ok(anchor) => Ok(self.call_ref(order, moment, anchor)),
                Err(error) => Err(error.to_string()),
            },
            Ok(_) => Err("only writes are recorded".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match call {
            Ok(call) => self.server.spawn_record(&self.session, seq, run, call, outcome),
            Err(error) => {
                let answer = Answer::Refused(RefusalReason::BadArguments, error);
                let now = self.server.clock.now();
                self.session.finish(now, seq, run, answer, &self.server.counters);
            }
        }
    }
}

/// Polls a call once. One that must wait is handed back, and leaves a new stage behind.
fn launch<J, F: Future>(
    stage: &mut Pin<Box<Option<F>>>,
    make: impl Fn(J) -> F,
    job: J,
    span: &tracing::Span,
    context: &mut Context<'_>,
) -> Result<F::Output, Pin<Box<Option<F>>>> {
    stage.set(Some(make(job)));
    match span.in_scope(|| poll_stage(stage.as_mut(), context)) {
        Poll::Ready(answer) => {
            stage.set(None);
            Ok(answer)
        }
        Poll::Pending => Err(std::mem::replace(stage, Box::pin(None))),
    }
}

fn poll_stage<F: Future>(stage: Pin<&mut Option<F>>, context: &mut Context<'_>) -> Poll<F::Output> {
    stage.as_pin_mut().expect("a call is on the stage").poll(context)
}

fn bad_arguments(error: &dyn std::fmt::Display) -> Answer {
    Answer::Refused(RefusalReason::BadArguments, error.to_string())
}
