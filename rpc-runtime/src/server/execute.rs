//! From a decoded call to its outcome: the business, its transaction, the commit.
//!
//! No socket, no table, no runtime: futures over a [`Service`] and a [`Store`] alone. Each ends in
//! an [`Answer`], whose committed variant only the store can make.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::id::MethodId;
use crate::io_buffer;
use crate::protocol::server::{Answer, Payload};
use crate::rule::{Rule, kept};
use crate::service::{Request, Service, Verdict};
use crate::store::{
    AbortReason, CallRef, Commit, CommitOutcome, Confirm, LookUp, Outcome, ReadVersion, Store,
    StoreError,
};
use crate::tx::{RunFailure, Tx, View, poll_contained};
use crate::wire::response::{RefusalReason, Status};

/// A call that is to be run.
pub(super) struct Job<S: Service> {
    pub(super) service: Arc<S>,
    pub(super) store: Arc<dyn Store>,
    pub(super) method: MethodId,
    pub(super) call: JobCall<S>,
    /// The largest encoded result that fits the client's frames.
    pub(super) max_result: usize,
}

/// What is to be run, by kind. The arguments are kept in case that a conflict makes it run again;
/// their buffer goes back to [`io_buffer`].
pub(super) enum JobCall<S: Service> {
    Write { decoded: S::Write, arguments: Vec<u8>, call: CallRef, retry: bool },
    Read { decoded: S::Read, arguments: Vec<u8> },
}

/// A call of a method with neither `Tx` nor `View`. Apart from [`Job`], since its future is moved
/// for every call and is so much smaller.
pub(super) struct PlainJob<S: Service> {
    pub(super) service: Arc<S>,
    pub(super) decoded: S::Plain,
    /// Where the result is encoded.
    pub(super) buffer: Vec<u8>,
    /// The largest encoded result that fits the client's frames.
    pub(super) max_result: usize,
}

impl<S: Service> JobCall<S> {
    /// What a write's record goes under.
    pub(super) fn call_ref(&self) -> Option<&CallRef> {
        match self {
            JobCall::Write { call, .. } => Some(call),
            JobCall::Read { .. } => None,
        }
    }
}

impl<S: Service> Job<S> {
    /// Runs the call to its end.
    pub(super) async fn run(self) -> Answer {
        let Job { service, store, method, call, max_result } = self;
        let run = Run { service: &*service, store: &store, method, max_result };
        let (answer, arguments) = match call {
            JobCall::Write { decoded, arguments, call, retry } => {
                (run.write(decoded, &arguments, call, retry).await, arguments)
            }
            JobCall::Read { decoded, arguments } => {
                (run.read(decoded, &arguments).await, arguments)
            }
        };
        io_buffer::put_message(arguments);
        answer
    }
}

impl<S: Service> PlainJob<S> {
    /// Runs the call to its end.
    pub(super) async fn run(self) -> Answer {
        let PlainJob { service, decoded, buffer, max_result } = self;
        let ended = {
            let mut business = pin!(service.plain(decoded));
            std::future::poll_fn(|context| poll_contained(business.as_mut(), context)).await
        };
        let encoded = match ended {
            Ok(response) => encode::<S>(&response, buffer, max_result),
            Err(panic) => Err(refusal(RunFailure::Panic(panic))),
        };
        match encoded {
            Ok((verdict, payload)) => {
                Answer::Tentative(status_of(verdict), Payload::Owned(payload))
            }
            Err(refused) => refused,
        }
    }
}

/// Records an outcome without writes, unless the call has a record already: an aborted one, or a
/// tentative one that a later attempt asks for.
pub(super) async fn record(store: Arc<dyn Store>, call: CallRef, outcome: Outcome) -> Answer {
    commit(&*store, Commit { call, reads: Vec::new(), writes: Vec::new(), result: outcome })
        .await
        .unwrap_or_else(|_conflict| {
            Answer::Unknown("the store reports a conflict on a commit that read nothing".to_owned())
        })
}

struct Run<'a, S> {
    service: &'a S,
    store: &'a Arc<dyn Store>,
    method: MethodId,
    max_result: usize,
}

/// Something that was read has changed: run again.
struct Conflict;

impl<S: Service> Run<'_, S> {
    async fn write(
        &self,
        decoded: S::Write,
        arguments: &[u8],
        call: CallRef,
        retry: bool,
    ) -> Answer {
        if retry && kept(Rule::LookBeforeLeap) {
            match self.store.look_up(&call).await {
                Ok(LookUp::Recorded(outcome)) => return Answer::Recorded(outcome),
                Ok(LookUp::Refused(refusal)) => return Answer::Never(refusal),
                Ok(LookUp::Unknown) => {}
                Err(error) => return store_answer(&error),
            }
        }
        let mut next = Some(decoded);
        loop {
            let decoded = match next.take() {
                Some(decoded) => decoded,
                None => match S::decode(self.method, arguments) {
                    Ok(Request::Write(decoded)) => decoded,
                    _ => return undecodable(),
                },
            };
            match self.try_write(decoded, &call, retry).await {
                Ok(answer) => return answer,
                Err(Conflict) => yield_once().await,
            }
        }
    }

    /// One run of the business with its commit.
    async fn try_write(
        &self,
        decoded: S::Write,
        call: &CallRef,
        retry: bool,
    ) -> Result<Answer, Conflict> {
        let mut tx = Tx::new(Arc::clone(self.store));
        let signal = tx.signal();
        let ended = signal.watch(self.service.write(decoded, &mut tx)).await;
        let encoded = match ended {
            Ok(response) => encode::<S>(&response, Vec::new(), self.max_result),
            Err(failure) => Err(refusal(failure)),
        };
        let (verdict, payload) = match encoded {
            Ok(encoded) => encoded,
            // Were a retry only refused, its call could stay unknown for ever.
            Err(Answer::Refused(reason, _)) if retry && !reason.is_passing() => {
                let outcome = Outcome::Aborted(AbortReason::Failed);
                return Ok(record(Arc::clone(self.store), call.clone(), outcome).await);
            }
            Err(refused) => return Ok(refused),
        };
        let (reads, mut writes) = tx.into_parts();
        if verdict == Verdict::BusinessError {
            writes.clear();
        }
        if writes.is_empty() && !(retry && kept(Rule::RecordOutcomeOfRetry)) {
            return self.tentative(&reads, verdict, Payload::Owned(payload)).await;
        }
        let result = match verdict {
            Verdict::Success => Outcome::Success(payload.into()),
            Verdict::BusinessError => Outcome::BusinessError(payload.into()),
        };
        commit(&**self.store, Commit { call: call.clone(), reads, writes, result }).await
    }

    async fn read(&self, decoded: S::Read, arguments: &[u8]) -> Answer {
        let mut next = Some(decoded);
        loop {
            let decoded = match next.take() {
                Some(decoded) => decoded,
                None => match S::decode(self.method, arguments) {
                    Ok(Request::Read(decoded)) => decoded,
                    _ => return undecodable(),
                },
            };
            let view = View::new(Arc::clone(self.store));
            let signal = view.signal();
            let ended = signal.watch(self.service.read(decoded, &view)).await;
            let encoded = match ended {
                Ok(response) => encode::<S>(&response, Vec::new(), self.max_result),
                Err(failure) => Err(refusal(failure)),
            };
            let (verdict, payload) = match encoded {
                Ok(encoded) => encoded,
                Err(refused) => return refused,
            };
            match self.tentative(&view.into_reads(), verdict, Payload::Owned(payload)).await {
                Ok(answer) => return answer,
                Err(Conflict) => yield_once().await,
            }
        }
    }

    /// An outcome that rests only on what was read: it holds if that was true at one moment.
    async fn tentative(
        &self,
        reads: &[ReadVersion],
        verdict: Verdict,
        payload: Payload,
    ) -> Result<Answer, Conflict> {
        if !reads.is_empty() && kept(Rule::ConfirmReads) {
            match self.store.confirm(reads).await {
                Ok(Confirm::Consistent) => {}
                Ok(Confirm::Changed) => return Err(Conflict),
                Err(error) => return Ok(store_answer(&error)),
            }
        }
        Ok(Answer::Tentative(status_of(verdict), payload))
    }
}

fn encode<S: Service>(
    response: &S::Response,
    mut buffer: Vec<u8>,
    max_result: usize,
) -> Result<(Verdict, Vec<u8>), Answer> {
    let verdict = S::encode(response, &mut buffer).map_err(|error| {
        Answer::Refused(RefusalReason::Failed, format!("the result is not encodable: {error}"))
    })?;
    if buffer.len() > max_result {
        let message = format!(
            "the result is {} bytes, the client takes at most {max_result}: return less, or raise its max_frame_bytes",
            buffer.len(),
        );
        return Err(Answer::Refused(RefusalReason::TooLarge, message));
    }
    Ok((verdict, buffer))
}

async fn commit(store: &dyn Store, commit: Commit) -> Result<Answer, Conflict> {
    match store.commit(commit).await {
        Ok(CommitOutcome::Committed(outcome)) => Ok(Answer::Committed(outcome)),
        Ok(CommitOutcome::Recorded(outcome)) => Ok(Answer::Recorded(outcome)),
        Ok(CommitOutcome::Conflict) => Err(Conflict),
        Ok(CommitOutcome::Refused(refusal)) => Ok(Answer::Never(refusal)),
        Err(error) => Ok(store_answer(&error)),
    }
}

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
    }
}

fn undecodable() -> Answer {
    let message = "the arguments decoded once and then did not".to_owned();
    Answer::Refused(RefusalReason::BadArguments, message)
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
