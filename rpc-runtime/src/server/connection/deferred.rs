//! The answers of a connection that its store has, and is making durable.
//!
//! The calls run on as far as their table is concerned, but nothing of them is left to be stopped:
//! a deadline, a cancellation or a retry changes nothing about a commit that is on its way to the
//! disk, and is answered with it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use super::super::answer::DeferredAnswer;
use super::super::sessions::{Session, State};
use super::super::stats::Tally;
use super::super::{Counted, Shared};
use crate::id::Seq;
use crate::protocol::server::RunNumber;
use crate::service::Service;
use crate::store::flush::Ended;
use crate::store::{Encoded, UntilDurable};
use crate::wire::response::Status;

/// For how many answers the room is kept once they are given.
const KEPT_ROOM: usize = 16;

/// The answers, in the order in which their calls ended, which is that in which their changes become
/// durable. (One that was recorded before rests on an earlier flush, and waits for those ahead of it.)
pub(super) struct DeferredAnswers<S> {
    waiting: VecDeque<Waiting>,
    /// The wait for the first of them.
    first: Option<Ended>,
    /// Counts them as running calls; none if there never was one.
    counted: Option<Counted<S>>,
}

struct Waiting {
    seq: Seq,
    run: RunNumber,
    answer: DeferredAnswer,
}

impl<S> Default for DeferredAnswers<S> {
    fn default() -> Self {
        DeferredAnswers { waiting: VecDeque::new(), first: None, counted: None }
    }
}

impl<S: Service> DeferredAnswers<S> {
    pub(super) fn push(
        &mut self,
        server: &Arc<Shared<S>>,
        seq: Seq,
        run: RunNumber,
        answer: DeferredAnswer,
    ) {
        self.count(server);
        self.waiting.push_back(Waiting { seq, run, answer });
    }

    /// As [`push`](DeferredAnswers::push), for a value that was recorded.
    pub(super) fn push_value(
        &mut self,
        server: &Arc<Shared<S>>,
        seq: Seq,
        run: RunNumber,
        wait: UntilDurable,
        value: &[u8],
    ) {
        self.count(server);
        let answer = || DeferredAnswer::Value(wait, Encoded::empty());
        // Made where it stays, and filled there: what is moved right after it was written is waited for.
        self.waiting.extend(std::iter::once_with(|| Waiting { seq, run, answer: answer() }));
        if let Some(Waiting { answer: DeferredAnswer::Value(_, kept), .. }) =
            self.waiting.back_mut()
        {
            kept.fill(value);
        }
    }

    fn count(&mut self, server: &Arc<Shared<S>>) {
        match &mut self.counted {
            Some(counted) => counted.add(1),
            none => *none = Some(server.count_running(1)),
        }
    }

    /// Answers the calls that have become durable; wakes for the next of them. Says whether there were
    /// any.
    pub(super) fn poll_ended(
        &mut self,
        context: &mut Context<'_>,
        server: &Shared<S>,
        session: &Session,
    ) -> bool {
        let mut has_answered = false;
        while let Some(first) = self.waiting.front() {
            let wait = self.first.get_or_insert_with(|| first.answer.ended());
            if Pin::new(wait).poll(context).is_pending() {
                break;
            }
            self.first = None;
            session.with(|state| self.finish_ended(server, state));
            has_answered = true;
        }
        has_answered
    }

    /// Has the calls answered without the connection, which has ended: their retries on another one
    /// wait for that.
    pub(super) fn leave_to_a_task(&mut self, server: &Arc<Shared<S>>, session: &Arc<Session>) {
        let mut left = std::mem::take(self);
        if left.waiting.is_empty() {
            return;
        }
        let (server, session) = (Arc::clone(server), Arc::clone(session));
        tokio::spawn(async move {
            while let Some(first) = left.waiting.front() {
                first.answer.ended().await;
                session.with_output(|state| left.finish_ended(&server, state));
            }
        });
    }

    /// Answers all that have ended.
    fn finish_ended(&mut self, server: &Shared<S>, state: &mut State) {
        let now = server.clock.now();
        let ended = self.waiting.iter().take_while(|waiting| waiting.answer.has_ended()).count();
        let mut tally = Tally::default();
        for Waiting { seq, run, answer } in self.waiting.drain(..ended) {
            if let DeferredAnswer::Value(wait, value) = &answer
                && let Some(Ok(proof)) = wait.end()
            {
                tally.count_committed();
                state.table.handle_committed(now, seq, &proof, Status::Success, value);
                continue;
            }
            let Ok(answer) = answer.end() else { unreachable!("it has ended") };
            tally.count(&answer);
            let must_record = state.table.handle_finished(now, seq, run, answer);
            debug_assert!(must_record.is_none(), "only a tentative answer must be recorded");
        }
        self.waiting.shrink_to(KEPT_ROOM.max(self.waiting.len()));
        server.counters.add(&tally);
        if let Some(counted) = &mut self.counted {
            counted.release(ended);
        }
    }
}
