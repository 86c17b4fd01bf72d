//! From a call to its outcome: the business, its transaction, the commit.
//!
//! No socket, no table, no runtime: futures over a [`Service`] and a [`Store`] alone. Each ends in
//! an [`Answer`], whose committed variant only the store can make.

use std::future::Future;
use std::mem::take;
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::arguments::ArgumentBytes;
use crate::id::MethodId;
use crate::panic::panic_message;
use crate::protocol::server::{Answer, Payload};
use crate::rule::{Rule, kept};
use crate::service::{ArgumentError, Service, Verdict};
use crate::store::flush::Ended;
use crate::store::{
    AbortReason, CallRef, Commit, CommitOutcome, Confirm, Deferred, DocKey, Draft, Encoded, LookUp,
    Outcome, ReadVersion, Store, StoreError, StoreFuture,
};
use crate::tx::{RunFailure, Scope, Spare, Tx, View, poll_contained, returned};
use crate::wire::response::{RefusalReason, Status};

/// A write or a read that is to be run once, here and now. What a conflict asks for is left to
/// [`Rerun`], so that few calls carry what few need.
pub(super) struct Job<S: Service> {
    pub(super) service: Arc<S>,
    pub(super) scope: Arc<Scope>,
    pub(super) method: MethodId,
    pub(super) arguments: ArgumentBytes,
    /// Which call, if it is a write.
    pub(super) call: Option<CallRef>,
    /// The largest encoded result that fits the client's frames.
    pub(super) max_result: usize,
}

/// How a run ended, and what was lent to it.
pub(super) struct Ran<S> {
    /// After a conflict, with the arguments that it must be run again with.
    pub(super) end: Result<JobEnd, Box<ArgumentBytes>>,
    pub(super) service: Arc<S>,
    pub(super) scope: Arc<Scope>,
}

/// A call that is run until it has an answer: a retry, or one that has met a conflict.
pub(super) struct Rerun<S: Service> {
    pub(super) service: Arc<S>,
    pub(super) scope: Arc<Scope>,
    pub(super) method: MethodId,
    pub(super) arguments: ArgumentBytes,
    /// Which call, if it is a write.
    pub(super) call: Option<CallRef>,
    /// The largest encoded result that fits the client's frames.
    pub(super) max_result: usize,
}

/// A call of a method with neither `Tx` nor `View`. Apart from [`Job`], since its future is moved
/// for every call and is so much smaller.
pub(super) struct PlainJob<S: Service> {
    pub(super) service: Arc<S>,
    pub(super) method: MethodId,
    pub(super) arguments: ArgumentBytes,
}

/// How a plain call ended, and what was lent to it.
pub(super) struct PlainEnd<S: Service> {
    /// What the business returned, or why it did not.
    pub(super) ended: Result<S::Response, Box<RunFailure>>,
    pub(super) service: Arc<S>,
}

/// How a run ended: with an answer, or with one that holds once it is durable, for which nothing is
/// left to be done but to wait.
pub(super) enum JobEnd {
    Answer(Answer),
    Deferred(DeferredAnswer),
}

/// Something that a run has read has changed: the call must be run again.
struct Conflict;

/// A call whose effect and record the store has, and is making durable.
pub(super) struct DeferredAnswer(Deferred<Result<CommitOutcome, StoreError>>);

impl JobEnd {
    /// The answer, once it holds.
    pub(super) async fn answer(self) -> Answer {
        match self {
            JobEnd::Answer(answer) => answer,
            JobEnd::Deferred(deferred) => {
                settled_answer_of(StoreFuture::deferred(deferred.0).await)
            }
        }
    }
}

impl DeferredAnswer {
    /// The answer, if it holds by now.
    pub(super) fn end(self) -> Result<Answer, DeferredAnswer> {
        self.0.end().map(settled_answer_of).map_err(DeferredAnswer)
    }

    /// Whether there is an answer by now.
    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// The wait until there is one. All that become durable together end together.
    pub(super) fn ended(&self) -> Ended {
        self.0.ended()
    }
}

// An `async fn` keeps what it is given twice, and these futures are moved for every call: so each is
// a block in a function, and what is rare in them is boxed.
impl<S: Service> Job<S> {
    /// Runs the call once.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run(self) -> impl Future<Output = Ran<S>> + Send + 'static {
        async move {
            let run = Run {
                service: &*self.service,
                method: self.method,
                arguments: self.arguments.as_slice(),
                max_result: self.max_result,
            };
            let (end, scope) = match &self.call {
                Some(call) => run.write(self.scope, call, false).await,
                None => run.read(self.scope).await,
            };
            let end = match end {
                Ok(end) => {
                    self.arguments.put();
                    Ok(end)
                }
                Err(Conflict) => Err(Box::new(self.arguments)),
            };
            Ran { end, service: self.service, scope }
        }
    }
}

impl<S: Service> Rerun<S> {
    /// One whose arguments come later, if it is needed.
    pub(super) fn later(
        service: Arc<S>,
        scope: Arc<Scope>,
        method: MethodId,
        call: Option<CallRef>,
        max_result: usize,
    ) -> impl FnOnce(ArgumentBytes) -> Rerun<S> + Send + use<S> {
        move |arguments| Rerun { service, scope, method, arguments, call, max_result }
    }

    /// Runs a retry to its end: looks before it leaps.
    pub(super) async fn retry(self) -> JobEnd {
        if let Some(call) = &self.call
            && kept(Rule::LookBeforeLeap)
        {
            let known = match self.scope.store.look_up(call).await {
                Ok(LookUp::Recorded(outcome)) => Some(Answer::Recorded(outcome)),
                Ok(LookUp::Refused(refusal)) => Some(Answer::Never(refusal)),
                Ok(LookUp::Unknown) => None,
                Err(error) => Some(store_answer(&error)),
            };
            if let Some(answer) = known {
                return JobEnd::Answer(answer);
            }
        }
        self.run_to_the_end(None).await
    }

    /// Runs a call again that has met a conflict.
    pub(super) fn after_conflict(self) -> impl Future<Output = JobEnd> + Send + 'static {
        // Made before the first poll, which may never come.
        let contender = self.contender();
        async move {
            yield_once().await;
            self.run_to_the_end(contender).await
        }
    }

    async fn run_to_the_end(self, mut contender: Option<Contender>) -> JobEnd {
        let run = Run {
            service: &*self.service,
            method: self.method,
            arguments: self.arguments.as_slice(),
            max_result: self.max_result,
        };
        loop {
            let scope = Arc::clone(&self.scope);
            let end = match &self.call {
                Some(call) => run.write(scope, call, call.attempt.is_retry()).await.0,
                None => run.read(scope).await.0,
            };
            if let Ok(end) = end {
                self.arguments.put();
                return end;
            }
            // One for all runs of the call: what it holds is given up when it goes.
            contender = contender.or_else(|| self.contender());
            yield_once().await;
        }
    }

    fn contender(&self) -> Option<Contender> {
        let store = Arc::clone(&self.scope.store);
        self.call.clone().map(|call| Contender { store, call })
    }
}

impl<S: Service> PlainJob<S> {
    /// Runs the call to its end.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run(self) -> impl Future<Output = PlainEnd<S>> + Send + 'static {
        async move {
            let ended = {
                let service = &*self.service;
                let mut business = pin!(service.plain(self.method, self.arguments.as_slice()));
                std::future::poll_fn(|context| poll_contained(business.as_mut(), context)).await
            };
            self.arguments.put();
            PlainEnd { ended: returned(ended).map_err(Box::new), service: self.service }
        }
    }
}

/// The answer to a plain call, with its result encoded into an empty buffer; boxed if there is no result.
#[inline]
pub(super) fn plain_answer<S: Service>(
    ended: Result<S::Response, Box<RunFailure>>,
    mut buffer: Vec<u8>,
    max_result: usize,
) -> Result<Answer, Box<Answer>> {
    let verdict = encode::<S>(ended, &mut buffer, max_result)?;
    Ok(Answer::Tentative(status_of(verdict), Payload::Owned(buffer)))
}

/// Records an outcome without writes, unless the call has a record already: an aborted one, or a
/// tentative one that a later attempt asks for.
pub(super) async fn record(store: Arc<dyn Store>, call: CallRef, outcome: Outcome) -> Answer {
    let commit = Commit { call, reads: Vec::new(), writes: Vec::new(), result: outcome };
    settled_answer_of(store.commit(commit).await)
}

/// Records that a call's business could not run it. Boxed and apart, since every write would have the room.
#[cold]
#[inline(never)]
fn record_failed(
    store: Arc<dyn Store>,
    call: CallRef,
) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    Box::pin(record(store, call, Outcome::Aborted(AbortReason::Failed)))
}

/// The document that the anchor argument of a write names.
pub(super) fn anchor<S: Service>(
    method: MethodId,
    arguments: &[u8],
) -> Result<Option<DocKey>, Box<Answer>> {
    let anchor = catch_unwind(|| S::anchor(method, arguments));
    let failure = match anchor {
        Ok(Ok(anchor)) => return Ok(anchor),
        Ok(Err(error)) => RunFailure::Arguments(error),
        Err(panic) => RunFailure::Panic(panic_message(&*panic)),
    };
    Err(Box::new(refusal(failure)))
}

struct Run<'a, S> {
    service: &'a S,
    method: MethodId,
    arguments: &'a [u8],
    max_result: usize,
}

/// A write that has met a conflict. However it ends (by a business error, by being dropped), the store
/// is told that it does not come back.
struct Contender {
    store: Arc<dyn Store>,
    call: CallRef,
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.store.give_up(&self.call);
    }
}

impl<S: Service> Run<'_, S> {
    /// One run of the business with its commit. The scope is given back.
    #[allow(clippy::manual_async_fn)]
    fn write(
        &self,
        scope: Arc<Scope>,
        call: &CallRef,
        is_retry: bool,
    ) -> impl Future<Output = (Result<JobEnd, Conflict>, Arc<Scope>)> + Send {
        async move {
            let (mut tx, polled) = Tx::new(scope);
            let ended = {
                let business = self.service.write(self.method, self.arguments, &mut tx);
                let mut business = pin!(business);
                std::future::poll_fn(|context| polled.poll(business.as_mut(), context)).await
            };
            let (scope, signal, mut lists) = tx.into_parts();
            lists.scratch.clear();
            let ended = ended.map_err(Box::new);
            let verdict = match encode::<S>(ended, &mut lists.scratch, self.max_result) {
                Ok(verdict) => verdict,
                // Were a retry only refused, its call could stay unknown for ever.
                Err(refused) if is_retry && is_final(&refused) => {
                    let recording = record_failed(Arc::clone(&scope.store), call.clone());
                    return (Ok(JobEnd::Answer(recording.await)), scope);
                }
                Err(refused) => return (Ok(JobEnd::Answer(*refused)), scope),
            };
            if verdict == Verdict::BusinessError {
                lists.writes.clear();
            }
            if lists.writes.is_empty() && !(is_retry && kept(Rule::RecordOutcomeOfRetry)) {
                let payload = Payload::Owned(take(&mut lists.scratch));
                let end = tentative(&*scope.store, &lists.reads, verdict, payload).await;
                Spare::put([signal, polled], lists);
                return (end, scope);
            }
            // The store keeps it, and the table of calls does.
            let encoded = Encoded::from(&lists.scratch[..]);
            let result = match verdict {
                Verdict::Success => Outcome::Success(encoded),
                Verdict::BusinessError => Outcome::BusinessError(encoded),
            };
            let (reads, writes) = (&mut lists.reads, &mut lists.writes);
            let committing = scope.store.commit_draft(Draft { call, reads, writes, result });
            Spare::put([signal, polled], lists);
            let end = match committing.into_ready() {
                Ok(committed) => answer_of(committed).map(JobEnd::Answer),
                Err(waiting) => match waiting.into_deferred() {
                    Ok(deferred) => Ok(JobEnd::Deferred(DeferredAnswer(deferred))),
                    Err(waiting) => answer_of(waiting.await).map(JobEnd::Answer),
                },
            };
            (end, scope)
        }
    }

    /// One run of the business that reads. The scope is given back.
    #[allow(clippy::manual_async_fn)]
    fn read(
        &self,
        scope: Arc<Scope>,
    ) -> impl Future<Output = (Result<JobEnd, Conflict>, Arc<Scope>)> + Send {
        async move {
            let (view, polled) = View::new(scope);
            let ended = {
                let mut business = pin!(self.service.read(self.method, self.arguments, &view));
                std::future::poll_fn(|context| polled.poll(business.as_mut(), context)).await
            };
            let (scope, signal, lists) = view.into_parts();
            let mut payload = Vec::new();
            let ended = ended.map_err(Box::new);
            let verdict = match encode::<S>(ended, &mut payload, self.max_result) {
                Ok(verdict) => verdict,
                Err(refused) => return (Ok(JobEnd::Answer(*refused)), scope),
            };
            let end =
                tentative(&*scope.store, &lists.reads, verdict, Payload::Owned(payload)).await;
            Spare::put([signal, polled], lists);
            (end, scope)
        }
    }
}

/// An outcome that rests only on what was read: it holds if that was true at one moment.
async fn tentative(
    store: &dyn Store,
    reads: &[ReadVersion],
    verdict: Verdict,
    payload: Payload,
) -> Result<JobEnd, Conflict> {
    if !reads.is_empty() && kept(Rule::ConfirmReads) {
        match store.confirm(reads).await {
            Ok(Confirm::Consistent) => {}
            Ok(Confirm::Changed) => return Err(Conflict),
            Err(error) => return Ok(JobEnd::Answer(store_answer(&error))),
        }
    }
    Ok(JobEnd::Answer(Answer::Tentative(status_of(verdict), payload)))
}

/// Encodes what a run has returned into an empty buffer. Why there is nothing is boxed, so that the
/// usual is a word.
fn encode<S: Service>(
    ended: Result<S::Response, Box<RunFailure>>,
    buffer: &mut Vec<u8>,
    max_result: usize,
) -> Result<Verdict, Box<Answer>> {
    let response = ended.map_err(|failure| refused(*failure))?;
    let verdict = S::encode(&response, buffer).map_err(|error| {
        let message = format!("the result is not encodable: {error}");
        Box::new(Answer::Refused(RefusalReason::Failed, message))
    })?;
    if buffer.len() > max_result {
        let message = format!(
            "the result is {} bytes, the client takes at most {max_result}: return less, or raise its max_frame_bytes",
            buffer.len(),
        );
        return Err(Box::new(Answer::Refused(RefusalReason::TooLarge, message)));
    }
    Ok(verdict)
}

#[cold]
fn refused(failure: RunFailure) -> Box<Answer> {
    Box::new(refusal(failure))
}

/// Whether another attempt would be refused as well.
fn is_final(refused: &Answer) -> bool {
    matches!(refused, Answer::Refused(reason, _) if !reason.is_passing())
}

fn answer_of(committed: Result<CommitOutcome, StoreError>) -> Result<Answer, Conflict> {
    match committed {
        Ok(CommitOutcome::Committed(outcome)) => Ok(Answer::Committed(outcome)),
        Ok(CommitOutcome::Recorded(outcome)) => Ok(Answer::Recorded(outcome)),
        Ok(CommitOutcome::Conflict) => Err(Conflict),
        Ok(CommitOutcome::Refused(refusal)) => Ok(Answer::Never(refusal)),
        Err(error) => Ok(store_answer(&error)),
    }
}

/// The answer to a commit that can meet no conflict.
fn settled_answer_of(committed: Result<CommitOutcome, StoreError>) -> Answer {
    answer_of(committed).unwrap_or_else(|_conflict| {
        Answer::Unknown("the store reports a conflict where there can be none".to_owned())
    })
}

#[cold]
fn store_answer(error: &StoreError) -> Answer {
    match error {
        StoreError::Unavailable { .. } => {
            tracing::warn!(%error, "a call was refused");
            Answer::Refused(RefusalReason::StoreUnavailable, error.to_string())
        }
        StoreError::Unknown { .. } => {
            tracing::warn!(%error, "a call's outcome is not known here");
            Answer::Unknown(error.to_string())
        }
        StoreError::TooLarge { .. } => Answer::Refused(RefusalReason::TooLarge, error.to_string()),
    }
}

#[cold]
fn refusal(failure: RunFailure) -> Answer {
    match failure {
        RunFailure::Store(error) => store_answer(&error),
        RunFailure::Business(fault) => {
            tracing::error!(%fault, "the business asked for what cannot be");
            Answer::Refused(RefusalReason::Failed, fault.to_string())
        }
        RunFailure::Panic(message) => {
            tracing::error!(message, "the business panicked");
            // What a panic says may hold secrets of the server: it stays in the server's log.
            let told = "the business panicked; the server's log says why".to_owned();
            Answer::Refused(RefusalReason::Failed, told)
        }
        RunFailure::Arguments(error) => bad_arguments(&error),
    }
}

/// The answer to a call whose arguments are none.
fn bad_arguments(error: &ArgumentError) -> Answer {
    Answer::Refused(RefusalReason::BadArguments, error.to_string())
}

fn status_of(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Success => Status::Success,
        Verdict::BusinessError => Status::BusinessError,
    }
}

/// Lets whoever won the conflict go on first.
fn yield_once() -> impl Future<Output = ()> {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}
