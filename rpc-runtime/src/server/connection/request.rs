//! What becomes of a request: answered from the table, run here and now, or moved to a task.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use tracing::Instrument as _;

use super::super::answer::{JobEnd, status_of};
use super::super::execute::{self, Job};
use super::super::sessions::{Run, Session, State};
use super::super::workspace::End;
use super::batch::{Batch, Order, Place, Standing, Task};
use super::{Connection, Moment};
use crate::id::{ArgumentHash, CallId, Seq};
use crate::io_buffer::KEPT_MESSAGE_BYTES;
use crate::panic::panic_message;
use crate::protocol::server::{Admission, Answer, Incoming, RunNumber};
use crate::service::{Kind, Service};
use crate::store::{CallRef, DocKey, Outcome};
use crate::tx::{Scope, poll_contained};
use crate::wire::request::RequestHeader;
use crate::wire::response::{RefusalReason, Status};

impl<S, F, P, M, N> Connection<S, F, P, M, N>
where
    S: Service,
    F: Future<Output = Job<S>> + Send + 'static,
    P: Future<Output = Job<S>> + Send + 'static,
    M: Fn(Job<S>) -> F,
    N: Fn(Job<S>) -> P,
{
    /// Asks the table what becomes of a request. What the table alone cannot answer is put down.
    pub(super) fn admit<'a>(
        &mut self,
        state: &mut State,
        moment: &Moment,
        header: &RequestHeader<'_>,
        arguments: &'a [u8],
        batch: &mut Batch<'a>,
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
        let deadline = match header.deadline {
            None => moment.default_deadline,
            Some(deadline) => moment.now + deadline.min(self.server.config.max_deadline),
        };
        let request = Incoming {
            seq: header.seq,
            attempt: header.attempt,
            kind: method.kind,
            hash: ArgumentHash::of(method.name_hash, arguments),
            deadline,
            settle: header.settle,
        };
        let (watermark, resent) = (state.table.watermark(), state.table.resent());
        let admission = state.table.handle_request(moment.now, &request);
        self.tally.requests += 1;
        self.tally.retries += u64::from(request.attempt.is_retry());
        self.tally.replayed_from_table += state.table.resent() - resent;
        let (run, task) = match admission {
            Admission::Handled => return,
            Admission::Run(run) => (run, Task::Run),
            Admission::Record(run, outcome) => (run, Task::Record(Box::new(outcome))),
            Admission::Settle(run, reason) => {
                (run, Task::Record(Box::new(Outcome::Aborted(reason))))
            }
        };
        batch.orders.push(Order {
            seq: header.seq,
            attempt: header.attempt,
            method: method.id,
            kind: method.kind,
            hash: request.hash,
            arguments,
            watermark,
            age: header.age,
            run,
            task,
        });
    }

    /// Runs what was admitted, then answers it. The session's lock comes in and goes out again, and
    /// is let go while the business runs.
    pub(super) fn carry_out<'s>(
        &mut self,
        context: &mut Context<'_>,
        session: &'s Session,
        state: MutexGuard<'s, State>,
        moment: &Moment,
        batch: &mut Batch<'_>,
    ) -> MutexGuard<'s, State> {
        let Batch { orders, answers, results, spare } = batch;
        if orders.is_empty() {
            return state;
        }
        drop(state);
        let mut next = 0;
        while next < orders.len() {
            // Of what the panic has left, nothing is used again.
            let mut run_rest = || {
                self.run_all(
                    context,
                    moment,
                    orders,
                    &mut next,
                    &mut Place { index: 0, answers, results, spare },
                )
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(&mut run_rest)) {
                let order = &orders[next - 1];
                let answer = panicked(order.seq, &panic_message(&*panic), order.kind);
                answers.push((next - 1, answer));
            }
        }
        let mut state = session.lock();
        let mut must_record = Vec::new();
        for (index, order) in orders.iter().enumerate() {
            let Task::Ended(status, standing, range) = &order.task else { continue };
            let (now, result) = (moment.now, &results[range.clone()]);
            match standing {
                Standing::Committed(proof) => {
                    self.tally.count_committed();
                    state.table.handle_committed(now, order.seq, proof, *status, result);
                }
                Standing::Tentative => {
                    self.tally.count_tentative();
                    let (seq, run) = (order.seq, order.run);
                    let due = state.table.handle_lent(now, seq, run, *status, result);
                    must_record.extend(due.map(|due| (index, due)));
                }
            }
        }
        results.clear();
        for (index, answer) in answers.iter_mut() {
            self.tally.count(answer);
            let (seq, run) = (orders[*index].seq, orders[*index].run);
            let answer = std::mem::replace(answer, Answer::Unknown(String::new()));
            let due = state.table.handle_finished(moment.now, seq, run, answer);
            must_record.extend(due.map(|due| (*index, due)));
        }
        answers.clear();
        if !must_record.is_empty() {
            drop(state);
            for (index, (run, outcome)) in must_record {
                self.record(&orders[index], moment, run, outcome);
            }
            state = session.lock();
        }
        orders.clear();
        state
    }

    /// Runs what was admitted, from `next` on, which is moved ahead of each before it is run.
    fn run_all(
        &mut self,
        context: &mut Context<'_>,
        moment: &Moment,
        orders: &mut [Order<'_>],
        next: &mut usize,
        to: &mut Place<'_>,
    ) {
        while let Some(order) = orders.get_mut(*next) {
            to.index = *next;
            *next += 1;
            if matches!(order.task, Task::Run) {
                order.task = Task::Begun;
                self.start(context, order, moment, to);
            } else if let Task::Record(outcome) = std::mem::replace(&mut order.task, Task::Begun) {
                self.record(order, moment, order.run, *outcome);
            }
        }
    }

    /// Runs a call: to its end if that comes at once, else in a task.
    fn start(
        &mut self,
        context: &mut Context<'_>,
        order: &mut Order<'_>,
        moment: &Moment,
        to: &mut Place<'_>,
    ) {
        if let Some(refused) = self.refusal() {
            return to.put_rare(*refused);
        }
        match order.kind {
            Kind::Plain => self.start_plain(context, order, to),
            Kind::Read => self.start_job(context, order, moment, None, to),
            Kind::Write => match self.anchor(order) {
                Ok(anchor) if order.attempt.is_retry() => {
                    let call = self.call_ref(order, moment, anchor);
                    self.start_retry(context, order, call, to);
                }
                Ok(anchor) => self.start_job(context, order, moment, Some(anchor), to),
                Err(refused) => to.put_rare(*refused),
            },
        }
    }

    fn start_plain(
        &mut self,
        context: &mut Context<'_>,
        order: &mut Order<'_>,
        to: &mut Place<'_>,
    ) {
        let job = self.job(order, None, to);
        let span = self.span(order);
        let entered = span.enter();
        if let Poll::Ready(job) = launch(&mut self.plain_stage, &self.make_plain, job, context) {
            return self.end(order, job, to);
        }
        drop(entered);
        self.park_plain(span, order);
    }

    /// Runs a write or a read once; it goes on in a task if that does not end it. For a write, with
    /// its anchor.
    fn start_job(
        &mut self,
        context: &mut Context<'_>,
        order: &mut Order<'_>,
        moment: &Moment,
        anchor: Option<Option<DocKey>>,
        to: &mut Place<'_>,
    ) {
        let scope = self.lend_scope();
        let mut job = self.job(order, Some(scope), to);
        // Once more for a call that must wait, which is what stores do that have a use for it.
        let again = anchor.clone();
        if let Some(anchor) = anchor {
            job.workspace.call = Some(self.call_ref(order, moment, anchor));
        }
        let span = self.span(order);
        // Not `in_scope`: what is done in a closure is moved into it first.
        let entered = span.enter();
        let polled = launch(&mut self.stage, &self.make, job, context);
        drop(entered);
        match polled {
            Poll::Ready(job) if matches!(job.workspace.end, End::Conflict) => {
                self.run_again(job, span, order);
            }
            Poll::Ready(mut job) => {
                self.lent_scope = job.workspace.scope.take();
                self.end(order, job, to);
            }
            Poll::Pending => {
                let call = again.map(|anchor| self.call_ref(order, moment, anchor));
                self.park_job(span, order, call);
            }
        }
    }

    #[inline]
    fn job(&mut self, order: &Order<'_>, scope: Option<Arc<Scope>>, to: &mut Place<'_>) -> Job<S> {
        let mut workspace = to.spare.take().unwrap_or_default();
        workspace.begin(order.method, order.arguments, self.agreement.max_result(), scope);
        Job { service: self.lend_service(), workspace }
    }

    /// Takes what a run has come to, and what was lent to it.
    #[inline]
    fn end(&mut self, order: &mut Order<'_>, job: Job<S>, to: &mut Place<'_>) {
        let Job { service, mut workspace } = job;
        self.lent_service = Some(service);
        let (status, standing) = match &workspace.end {
            // A larger one is handed on as it is.
            End::Tentative(verdict) if workspace.result.len() <= KEPT_MESSAGE_BYTES => {
                (status_of(*verdict), Standing::Tentative)
            }
            End::Committed(proof) => (Status::Success, Standing::Committed(proof.clone())),
            End::Applied(_) => {
                let End::Applied(wait) = std::mem::replace(&mut workspace.end, End::Running) else {
                    unreachable!("it was just seen there")
                };
                let (seq, run) = (order.seq, order.run);
                self.deferred.push_value(&self.server, seq, run, wait, &workspace.result);
                return to.keep(workspace);
            }
            _ => {
                match workspace.take_end() {
                    Some(end) => self.end_or_defer(order, end, to),
                    None => unreachable!("a conflict is run again"),
                }
                return to.keep(workspace);
            }
        };
        let start = to.results.len();
        to.results.extend_from_slice(&workspace.result);
        order.task = Task::Ended(status, standing, start..to.results.len());
        to.keep(workspace);
    }

    // What follows is rare or dear. Each is a function of its own, which is never made part of another: the
    // tasks that they start are large, and all calls would pay for the room.

    /// A plain call must wait: it goes on in a task.
    #[cold]
    #[inline(never)]
    fn park_plain(&mut self, span: tracing::Span, order: &Order<'_>) {
        let mut parked = std::mem::replace(&mut self.plain_stage, Box::pin(None));
        let running = async move {
            let job = poll_fn(|context| poll_stage(parked.as_mut(), context)).await;
            job.ended().unwrap_or_else(|_| unreachable!("it reads nothing"))
        };
        self.park(running, span, order, None);
    }

    /// A write or a read must wait: it goes on in a task.
    #[cold]
    #[inline(never)]
    fn park_job(&mut self, span: tracing::Span, order: &Order<'_>, call: Option<CallRef>) {
        let mut parked = std::mem::replace(&mut self.stage, Box::pin(None));
        let running = async move {
            let job = poll_fn(|context| poll_stage(parked.as_mut(), context)).await;
            match job.ended() {
                Ok(end) => end,
                // Boxed, since few of those that wait need the room.
                Err(conflict) => Box::pin(conflict.after_conflict()).await,
            }
        };
        self.park(running, span, order, call);
    }

    /// A write or a read has met a conflict: it is run again in a task.
    #[cold]
    #[inline(never)]
    fn run_again(&mut self, job: Job<S>, span: tracing::Span, order: &Order<'_>) {
        let call = job.workspace.call.clone();
        self.park(Box::pin(job.after_conflict()), span, order, call);
    }

    #[cold]
    #[inline(never)]
    fn start_retry(
        &mut self,
        context: &mut Context<'_>,
        order: &Order<'_>,
        call: CallRef,
        to: &mut Place<'_>,
    ) {
        let span = self.span(order);
        let mut retry = self.job(order, Some(Arc::clone(&self.scope)), to);
        retry.workspace.call = Some(call.clone());
        let mut retry = Box::pin(retry.retry());
        match span.in_scope(|| retry.as_mut().poll(context)) {
            Poll::Ready(end) => self.end_or_defer(order, end, to),
            Poll::Pending => self.park(retry, span, order, Some(call)),
        }
    }

    fn end_or_defer(&mut self, order: &Order<'_>, end: JobEnd, to: &mut Place<'_>) {
        match end {
            JobEnd::Answer(answer) => to.put(answer),
            JobEnd::Deferred(answer) => {
                self.deferred.push(&self.server, order.seq, order.run, answer);
            }
        }
    }

    fn lend_service(&mut self) -> Arc<S> {
        self.lent_service.take().unwrap_or_else(|| Arc::clone(&self.server.service))
    }

    fn lend_scope(&mut self) -> Arc<Scope> {
        self.lent_scope.take().unwrap_or_else(|| Arc::clone(&self.scope))
    }

    /// The span of a call, if somebody may listen.
    #[inline]
    fn span(&self, order: &Order<'_>) -> tracing::Span {
        if tracing::Level::DEBUG <= tracing::level_filters::LevelFilter::current() {
            self.open_span(order)
        } else {
            tracing::Span::none()
        }
    }

    #[cold]
    fn open_span(&self, order: &Order<'_>) -> tracing::Span {
        tracing::debug_span!(
            "call",
            method = self.server.method_name(order.method),
            id = %CallId { client: self.session.id.client, seq: order.seq },
            attempt = order.attempt.0,
        )
    }

    #[inline]
    fn refusal(&self) -> Option<Box<Answer>> {
        let server = &self.server;
        let is_full = server.running.load(Ordering::Relaxed) >= server.config.max_running;
        is_full.then(overloaded)
    }

    /// Moves a call that must wait to a task of its own.
    fn park(
        &self,
        running: impl Future<Output = JobEnd> + Send + 'static,
        span: tracing::Span,
        order: &Order<'_>,
        call: Option<CallRef>,
    ) {
        let (seq, run, kind) = (order.seq, order.run, order.kind);
        let (server, session) = (Arc::clone(&self.server), Arc::clone(&self.session));
        let counted = server.count_running(1);
        let record_under = call.clone();
        let task = async move {
            let mut running = pin!(async move { running.await.answer().await });
            let ended = poll_fn(|context| poll_contained(running.as_mut(), context)).await;
            let answer = ended.unwrap_or_else(|panic| panicked(seq, &panic, kind));
            drop(counted);
            server.finish(&session, seq, run, answer, record_under).await;
        };
        let task = tokio::spawn(task.instrument(span)).abort_handle();
        self.session.with(|state| state.table.handle_started(seq, run, Run { task, call }));
    }

    /// The anchor of a write, if the store has a use for one. That it can be a document's name is
    /// checked for every store, at the latest when the write is run.
    fn anchor(&self, order: &Order<'_>) -> Result<Option<DocKey>, Box<Answer>> {
        if self.server.uses_anchors {
            execute::anchor::<S>(order.method, order.arguments)
        } else {
            Ok(None)
        }
    }

    #[inline]
    fn call_ref(&self, order: &Order<'_>, moment: &Moment, anchor: Option<DocKey>) -> CallRef {
        CallRef {
            id: CallId { client: self.session.id.client, seq: order.seq },
            incarnation: self.session.incarnation(),
            attempt: order.attempt,
            born: moment.wall(&self.server.wall_clock) - order.age,
            hash: order.hash,
            anchor,
            watermark: order.watermark,
        }
    }

    /// Records an outcome without running the business.
    #[cold]
    #[inline(never)]
    fn record(&self, order: &Order<'_>, moment: &Moment, run: RunNumber, outcome: Outcome) {
        let seq = order.seq;
        match self.anchor(order) {
            Ok(anchor) => {
                let call = self.call_ref(order, moment, anchor);
                self.server.spawn_record(&self.session, seq, run, call, outcome);
            }
            Err(refused) => {
                let now = self.server.clock.now();
                self.session.finish(now, seq, run, *refused, &self.server.counters);
            }
        }
    }
}

#[cold]
fn overloaded() -> Box<Answer> {
    let why = "the server has as many calls running as its limits allow";
    Box::new(Answer::Refused(RefusalReason::Overloaded, why.to_owned()))
}

/// Polls a call once. One that is over holds nothing any more, and stays on its stage until the next.
#[inline]
fn launch<J, F: Future>(
    stage: &mut Pin<Box<Option<F>>>,
    make: impl Fn(J) -> F,
    job: J,
    context: &mut Context<'_>,
) -> Poll<F::Output> {
    stage.set(Some(make(job)));
    poll_stage(stage.as_mut(), context)
}

fn poll_stage<F: Future>(stage: Pin<&mut Option<F>>, context: &mut Context<'_>) -> Poll<F::Output> {
    stage.as_pin_mut().expect("a call is on the stage").poll(context)
}

/// The answer to a call at the end of which what the user wrote for its types has panicked. (A panic
/// of the business itself, or while its arguments are decoded, never comes as far as this.)
#[cold]
fn panicked(seq: Seq, message: &str, kind: Kind) -> Answer {
    tracing::error!(message, seq = seq.0, "a type of the service panicked");
    let told = "a type of the service panicked; the server's log says why".to_owned();
    match kind {
        Kind::Write => Answer::Unknown(told),
        Kind::Read | Kind::Plain => Answer::Refused(RefusalReason::Failed, told),
    }
}
