//! The answers that a run can come to, and how those of the store and those of failures become answers.

use crate::protocol::server::Answer;
use crate::service::{ArgumentError, Verdict};
use crate::store::flush::Ended;
use crate::store::{CommitOutcome, Deferred, Encoded, StoreError, UntilDurable};
use crate::tx::RunFailure;
use crate::wire::response::{RefusalReason, Status};

/// How a run ended: with an answer, or with one that holds once it is durable, for which nothing is
/// left to be done but to wait.
pub(super) enum JobEnd {
    Answer(Answer),
    Deferred(DeferredAnswer),
}

/// Something that a run has read has changed: the call must be run again.
pub(super) struct Conflict;

/// A call whose effect and record the store has, and is making durable.
pub(super) enum DeferredAnswer {
    /// With the value that is recorded.
    Value(UntilDurable, Encoded),
    /// With any other answer.
    Other(Deferred<Result<CommitOutcome, StoreError>>),
}

impl JobEnd {
    /// The answer, once it holds.
    pub(super) async fn answer(self) -> Answer {
        match self {
            JobEnd::Answer(answer) => answer,
            JobEnd::Deferred(deferred) => {
                deferred.ended().await;
                let Ok(answer) = deferred.end() else { unreachable!("it has ended") };
                answer
            }
        }
    }
}

impl DeferredAnswer {
    /// The answer, if it holds by now.
    pub(super) fn end(self) -> Result<Answer, DeferredAnswer> {
        match self {
            DeferredAnswer::Value(wait, value) => match wait.end() {
                Some(Ok(proof)) => Ok(Answer::Committed(proof.of(&value))),
                Some(Err(error)) => Ok(store_answer(&error)),
                None => Err(DeferredAnswer::Value(wait, value)),
            },
            DeferredAnswer::Other(deferred) => {
                deferred.end().map(settled_answer_of).map_err(DeferredAnswer::Other)
            }
        }
    }

    /// Whether there is an answer by now.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            DeferredAnswer::Value(wait, _) => wait.has_ended(),
            DeferredAnswer::Other(deferred) => deferred.has_ended(),
        }
    }

    /// The wait until there is one. All that become durable together end together.
    pub(super) fn ended(&self) -> Ended {
        match self {
            DeferredAnswer::Value(wait, _) => wait.ended(),
            DeferredAnswer::Other(deferred) => deferred.ended(),
        }
    }
}

#[cold]
pub(super) fn refused(failure: RunFailure) -> Box<Answer> {
    Box::new(refusal(failure))
}

/// Whether another attempt would be refused as well.
pub(super) fn is_final(refused: &Answer) -> bool {
    matches!(refused, Answer::Refused(reason, _) if !reason.is_passing())
}

pub(super) fn answer_of(committed: Result<CommitOutcome, StoreError>) -> Result<Answer, Conflict> {
    match committed {
        Ok(CommitOutcome::Committed(outcome)) => Ok(Answer::Committed(outcome)),
        Ok(CommitOutcome::Recorded(outcome)) => Ok(Answer::Recorded(outcome)),
        Ok(CommitOutcome::Conflict) => Err(Conflict),
        Ok(CommitOutcome::Refused(refusal)) => Ok(Answer::Never(refusal)),
        Err(error) => Ok(store_answer(&error)),
    }
}

/// The answer to a commit that can meet no conflict.
pub(super) fn settled_answer_of(committed: Result<CommitOutcome, StoreError>) -> Answer {
    answer_of(committed).unwrap_or_else(|_conflict| {
        Answer::Unknown("the store reports a conflict where there can be none".to_owned())
    })
}

#[cold]
pub(super) fn store_answer(error: &StoreError) -> Answer {
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
pub(super) fn refusal(failure: RunFailure) -> Answer {
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

pub(super) fn status_of(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Success => Status::Success,
        Verdict::BusinessError => Status::BusinessError,
    }
}
