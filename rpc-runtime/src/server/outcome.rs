//! How the end of a call reaches its session, once the call runs in a task of its own; and how a
//! call is ended that may not go on.

use std::sync::Arc;

use super::Shared;
use super::execute::record;
use super::sessions::{Run, Session};
use crate::id::{MethodId, Seq};
use crate::protocol::server::{Answer, Duty, RunNumber};
use crate::service::Service;
use crate::store::{AbortReason, CallRef, Outcome};
use crate::wire::response::RefusalReason;

impl<S: Service> Shared<S> {
    /// Takes how a call ended in a task of its own, and records it first where that is asked for.
    pub(super) async fn finish(
        &self,
        session: &Session,
        seq: Seq,
        run: RunNumber,
        answer: Answer,
        call: Option<CallRef>,
    ) {
        let must_record = session.finish(self.clock.now(), seq, run, answer, &self.counters);
        if let (Some((run, outcome)), Some(call)) = (must_record, call) {
            let recording = Box::pin(record(&*self.store, call, outcome));
            let answer = recording.await;
            session.finish(self.clock.now(), seq, run, answer, &self.counters);
        }
    }

    pub(super) fn spawn_record(
        self: &Arc<Self>,
        session: &Arc<Session>,
        seq: Seq,
        run: RunNumber,
        call: CallRef,
        outcome: Outcome,
    ) {
        let (server, session) = (Arc::clone(self), Arc::clone(session));
        tokio::spawn(async move {
            let answer = record(&*server.store, call, outcome).await;
            session.finish(server.clock.now(), seq, run, answer, &server.counters);
        });
    }

    /// Stops a call's business and ends the call: by a record if it is a write, since a part of it
    /// may be on its way to the store.
    pub(super) fn perform(self: &Arc<Self>, session: &Arc<Session>, duty: Duty<Run>) {
        let Duty::Abort(seq, abort, reason, run) = duty else { return };
        run.task.abort();
        match run.call {
            Some(call) => {
                self.spawn_record(session, seq, abort, call, Outcome::Aborted(reason));
            }
            None => {
                let (reason, why) = match reason {
                    AbortReason::Deadline => (RefusalReason::Deadline, "the deadline passed"),
                    _ => (RefusalReason::Cancelled, "the caller gave the call up"),
                };
                let answer = Answer::Refused(reason, why.to_owned());
                let now = self.clock.now();
                session.finish(now, seq, abort, answer, &self.counters);
            }
        }
    }

    pub(super) fn method_name(&self, id: MethodId) -> &'static str {
        self.method_names.get(usize::from(id.0)).copied().unwrap_or("?")
    }
}
