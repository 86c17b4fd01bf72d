//! From a call to its outcome: the business, its transaction, the commit.
//!
//! No socket, no table, no runtime: futures over a [`Service`] and a [`Store`] alone. Each ends in
//! an [`Answer`], whose committed variant only the store can make.

use std::future::Future;
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::answer::{
    Conflict, DeferredAnswer, JobEnd, answer_of, is_final, refusal, refused, settled_answer_of,
    store_answer,
};
use super::workspace::{End, Workspace};
use crate::id::MethodId;
use crate::panic::panic_message;
use crate::protocol::server::Answer;
use crate::rule::{Rule, kept};
use crate::service::{Service, Verdict};
use crate::store::{
    AbortReason, CallRef, Commit, CommitOutcome, Confirm, DocKey, Draft, Drafted, Encoded, Lent,
    LookUp, Outcome, ReadVersion, Store, StoreError,
};
use crate::tx::{Lists, RunFailure, Tx, View, poll_contained, returned};
use crate::wire::response::RefusalReason;

/// A call that is to be run, or has run. Two words, so that it is handed on without being written and
/// read again.
pub(super) struct Job<S> {
    pub(super) service: Arc<S>,
    pub(super) workspace: Box<Workspace>,
}

// An `async fn` keeps what it is given twice, so these are blocks in functions.
impl<S: Service> Job<S> {
    /// Runs a write or a read once.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run(self) -> impl Future<Output = Job<S>> + Send + 'static {
        async move {
            let Job { service, mut workspace } = self;
            run_once(&*service, &mut workspace).await;
            Job { service, workspace }
        }
    }

    /// Runs a call of a method with neither `Tx` nor `View` to its end. Apart from
    /// [`run`](Job::run), since its future is so much smaller.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run_plain(self) -> impl Future<Output = Job<S>> + Send + 'static {
        async move {
            let Job { service, mut workspace } = self;
            run_plain(&*service, &mut workspace).await;
            Job { service, workspace }
        }
    }

    /// Runs a retry to its end: looks before it leaps.
    pub(super) async fn retry(self) -> JobEnd {
        if let (Some(call), Some(scope)) = (&self.workspace.call, &self.workspace.scope)
            && kept(Rule::LookBeforeLeap)
        {
            let known = match scope.store.look_up(call).await {
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

    async fn run_to_the_end(mut self, mut contender: Option<Contender>) -> JobEnd {
        loop {
            run_once(&*self.service, &mut self.workspace).await;
            self = match self.ended() {
                Ok(end) => return end,
                Err(conflict) => conflict,
            };
            // One for all runs of the call: what it holds is given up when it goes.
            contender = contender.or_else(|| self.contender());
            yield_once().await;
        }
    }

    /// What a run has come to; the call itself after a conflict.
    pub(super) fn ended(mut self) -> Result<JobEnd, Job<S>> {
        match self.workspace.take_end() {
            Some(end) => Ok(end),
            None => Err(self),
        }
    }

    fn contender(&self) -> Option<Contender> {
        let store = Arc::clone(&self.workspace.scope.as_ref()?.store);
        self.workspace.call.clone().map(|call| Contender { store, call })
    }
}

/// One run of a write or a read.
async fn run_once<S: Service>(service: &S, workspace: &mut Workspace) {
    match workspace.call {
        Some(_) => write(service, workspace).await,
        None => read(service, workspace).await,
    }
}

async fn run_plain<S: Service>(service: &S, workspace: &mut Workspace) {
    let ended = {
        let mut business = pin!(service.plain(workspace.method, workspace.arguments()));
        std::future::poll_fn(|context| poll_contained(business.as_mut(), context)).await
    };
    match encode::<S>(returned(ended), workspace) {
        None => workspace.end = End::Tentative(workspace.verdict),
        Some(refused) => workspace.end = End::Answer(*refused),
    }
}

/// Records an outcome without writes, unless the call has a record already: an aborted one, or a
/// tentative one that a later attempt asks for.
pub(super) async fn record(store: &dyn Store, call: CallRef, outcome: Outcome) -> Answer {
    let commit = Commit { call, reads: Vec::new(), writes: Vec::new(), result: outcome };
    settled_answer_of(store.commit(commit).await)
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

/// One run of a write's business with its commit.
async fn write<S: Service>(service: &S, workspace: &mut Workspace) {
    let scope = workspace.scope.take().expect("a write has a scope");
    let (mut tx, polled) = Tx::new(scope);
    let ended = {
        let business = service.write(workspace.method, workspace.arguments(), &mut tx);
        let mut business = pin!(business);
        std::future::poll_fn(|context| polled.poll(business.as_mut(), context)).await
    };
    let (scope, signal, mut lists) = tx.into_parts();
    match encode::<S>(ended, workspace) {
        None => {
            let waiting = settle(&*scope.store, &mut lists, workspace);
            if let Some(waiting) = waiting {
                workspace.end = waiting.await;
            }
        }
        // Were a retry only refused, its call could stay unknown for ever.
        Some(refused) if is_final(&refused) && workspace.is_retry() => {
            let aborting = Box::pin(record_failed(&*scope.store, workspace));
            workspace.end = End::Answer(aborting.await);
        }
        Some(refused) => workspace.end = End::Answer(*refused),
    }
    lists.put(signal, polled);
    workspace.scope = Some(scope);
}

/// A wait for how a run ends.
type Waiting<'a> = Pin<Box<dyn Future<Output = End> + Send + 'a>>;

/// Does with a write what its business has come to. What is at hand is written to the workspace.
fn settle<'a>(
    store: &'a dyn Store,
    lists: &'a mut Lists,
    workspace: &mut Workspace,
) -> Option<Waiting<'a>> {
    let Workspace { call, result, verdict, end, .. } = workspace;
    let call = call.as_ref().expect("a write is a call of its session");
    if *verdict == Verdict::BusinessError {
        lists.writes.clear();
    }
    let must_record = call.attempt.is_retry() && kept(Rule::RecordOutcomeOfRetry);
    if lists.writes.is_empty() && !must_record {
        return tentative(store, &lists.reads, *verdict, end);
    }
    let whole;
    let result = if *verdict == Verdict::Success && Encoded::is_short(result) {
        Lent::Brief(result)
    } else {
        let encoded = Encoded::from(&result[..]);
        whole = match verdict {
            Verdict::Success => Outcome::Success(encoded),
            Verdict::BusinessError => Outcome::BusinessError(encoded),
        };
        Lent::Whole(&whole)
    };
    let (reads, writes) = (&mut lists.reads, &mut lists.writes);
    match store.commit_draft(Draft { call, reads, writes, result }) {
        Drafted::Committed(committed) => match committed.taken() {
            Ok(proof) => *end = End::Committed(proof),
            Err(outcome) => *end = End::Answer(Answer::Committed(outcome)),
        },
        Drafted::Applied(wait, Lent::Brief(_)) => *end = End::Applied(wait),
        otherwise => match otherwise.whole().into_ready() {
            Ok(committed) => *end = end_of(committed),
            Err(waiting) => match waiting.into_deferred() {
                Ok(deferred) => *end = End::Deferred(DeferredAnswer::Other(deferred)),
                Err(waiting) => return Some(Box::pin(async { end_of(waiting.await) })),
            },
        },
    }
    None
}

fn end_of(committed: Result<CommitOutcome, StoreError>) -> End {
    match answer_of(committed) {
        Ok(answer) => End::Answer(answer),
        Err(Conflict) => End::Conflict,
    }
}

/// One run of a read's business.
async fn read<S: Service>(service: &S, workspace: &mut Workspace) {
    let scope = workspace.scope.take().expect("a read has a scope");
    let (view, polled) = View::new(scope);
    let ended = {
        let mut business = pin!(service.read(workspace.method, workspace.arguments(), &view));
        std::future::poll_fn(|context| polled.poll(business.as_mut(), context)).await
    };
    let (scope, signal, lists) = view.into_parts();
    match encode::<S>(ended, workspace) {
        None => {
            let (verdict, end) = (workspace.verdict, &mut workspace.end);
            if let Some(waiting) = tentative(&*scope.store, &lists.reads, verdict, end) {
                workspace.end = waiting.await;
            }
        }
        Some(refused) => workspace.end = End::Answer(*refused),
    }
    lists.put(signal, polled);
    workspace.scope = Some(scope);
}

/// An outcome that rests only on what was read: it holds if that was true at one moment.
fn tentative<'a>(
    store: &'a dyn Store,
    reads: &'a [ReadVersion],
    verdict: Verdict,
    end: &mut End,
) -> Option<Waiting<'a>> {
    let confirmed = move |confirmed| match confirmed {
        Ok(Confirm::Consistent) => End::Tentative(verdict),
        Ok(Confirm::Changed) => End::Conflict,
        Err(error) => End::Answer(store_answer(&error)),
    };
    if reads.is_empty() || !kept(Rule::ConfirmReads) {
        *end = End::Tentative(verdict);
        return None;
    }
    match store.confirm(reads).into_ready() {
        Ok(at_hand) => *end = confirmed(at_hand),
        Err(waiting) => return Some(Box::pin(async move { confirmed(waiting.await) })),
    }
    None
}

/// Encodes what a run has returned into its workspace. Returns why there is nothing.
fn encode<S: Service>(
    ended: Result<S::Response, Box<RunFailure>>,
    workspace: &mut Workspace,
) -> Option<Box<Answer>> {
    let Workspace { result, verdict, max_result, .. } = workspace;
    // That of an earlier run, if there was one.
    result.clear();
    let response = match ended {
        Ok(response) => response,
        Err(failure) => return Some(refused(*failure)),
    };
    match S::encode(&response, result) {
        Ok(ended) => *verdict = ended,
        Err(error) => {
            let message = format!("the result is not encodable: {error}");
            return Some(Box::new(Answer::Refused(RefusalReason::Failed, message)));
        }
    }
    (result.len() > *max_result).then(|| {
        let message = format!(
            "the result is {} bytes, the client takes at most {max_result}: return less, or raise its max_frame_bytes",
            result.len(),
        );
        Box::new(Answer::Refused(RefusalReason::TooLarge, message))
    })
}

/// Records that the business of a retry could not run it.
async fn record_failed(store: &dyn Store, workspace: &Workspace) -> Answer {
    let call = workspace.call.clone().expect("a write is a call of its session");
    record(store, call, Outcome::Aborted(AbortReason::Failed)).await
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
