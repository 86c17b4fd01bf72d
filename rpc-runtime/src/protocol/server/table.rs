//! The calls of one session on one server.

use std::collections::VecDeque;
use std::time::Duration;

use super::admission::{Admission, Duty, Incoming, TableLimits};
use super::slot::{RunNumber, Running, Slot, Stage, recordable};
use crate::id::{Attempt, Seq};
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::store::{AbortReason, Refusal};
use crate::time::Time;
use crate::wire::ack::Ack;
use crate::wire::response::{RefusalReason, ResponseHeader, ServerFrame, Status};

/// Business pending and response ack pending of one session: a ring of slots from the watermark
/// on, and the bytes that wait to be sent.
///
/// `R` is what the driver keeps for a running call, so that it can be stopped.
#[derive(Debug)]
pub(crate) struct CallTable<R> {
    pub(super) limits: TableLimits,
    /// The client's watermark: the first call that it has not acknowledged.
    pub(super) base: Seq,
    /// `slots[i]` is call `base + i`.
    pub(super) slots: VecDeque<Slot<R>>,
    pub(super) running: usize,
    /// The number of the next run.
    pub(super) next_run: RunNumber,
    /// Bytes of kept responses.
    pub(super) held: usize,
    /// No running call's deadline is earlier.
    next_deadline: Time,
    pub(super) duties: VecDeque<Duty<R>>,
    pub(super) out: Vec<u8>,
    pub(super) spare: Vec<Vec<u8>>,
    /// Bytes of spare buffers.
    pub(super) spare_bytes: usize,
    /// No new runs are taken: the server is being shut down.
    draining: bool,
    /// Responses that were sent again from this table.
    resent: u64,
}

/// When to look again at a call whose deadline has passed while its driver is just starting it.
const NOT_YET_STOPPABLE: Duration = Duration::from_millis(10);
impl<R> CallTable<R> {
    pub(crate) fn new(limits: TableLimits, watermark: Seq) -> CallTable<R> {
        CallTable {
            limits,
            base: watermark,
            slots: VecDeque::new(),
            running: 0,
            next_run: RunNumber::FIRST,
            held: 0,
            next_deadline: Time::NEVER,
            duties: VecDeque::new(),
            out: Vec::new(),
            spare: Vec::new(),
            spare_bytes: 0,
            draining: false,
            resent: 0,
        }
    }

    /// The client's watermark as far as it is known here.
    pub(crate) fn watermark(&self) -> Seq {
        self.base
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Whether as many calls run as may: before the next is admitted, those that can be ended
    /// should be.
    pub(crate) fn is_full(&self) -> bool {
        self.running >= self.limits.max_running
    }

    /// How many calls it knows of.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of kept responses.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn resent(&self) -> u64 {
        self.resent
    }

    /// A new connection of the session: what was still to be sent on the old one is lost with it,
    /// and will be asked for again.
    pub(crate) fn handle_attached(&mut self) {
        self.out.clear();
    }

    /// Lets go of what the client has acknowledged.
    pub(crate) fn handle_ack(&mut self, ack: Ack<'_>) {
        if self.base < ack.watermark {
            let known = (self.slots.len() as u64).min(ack.watermark.0 - self.base.0);
            self.release_first(known as usize);
            self.base = ack.watermark;
        }
        if !ack.has_bitmap() {
            return;
        }
        for seq in ack.above() {
            let Some(slot) = self.slot_mut(seq) else { break };
            let slot = std::mem::replace(slot, Slot::Acked);
            self.release(slot);
        }
    }

    /// Lets go of the oldest calls.
    fn release_first(&mut self, count: usize) {
        if count == 1 {
            // Of a client with one call in flight. To drain a list of one is dear.
            let slot = self.slots.pop_front();
            return slot.into_iter().for_each(|slot| self.release(slot));
        }
        let mut slots = std::mem::take(&mut self.slots);
        slots.drain(..count).for_each(|slot| self.release(slot));
        self.slots = slots;
    }

    /// The session has been quiet for a while: gives back what only traffic needs.
    pub(crate) fn handle_idle(&mut self) {
        if self.slots.is_empty() && self.out.is_empty() && self.duties.is_empty() {
            self.slots = VecDeque::new();
            self.spare = Vec::new();
            self.spare_bytes = 0;
            self.duties = VecDeque::new();
            self.out = Vec::new();
        }
    }

    /// Decides what becomes of a request. Answers it at once where the table can.
    #[inline(always)]
    pub(crate) fn handle_request(&mut self, now: Time, request: &Incoming) -> Admission {
        // Nearly every request is for the call after those that are known.
        let is_next = request.seq.0 == self.base.0 + self.slots.len() as u64;
        let has_room = self.slots.len() < self.limits.window as usize && !self.is_full();
        if is_next && has_room && !self.draining && !request.settle {
            return Admission::Run(self.start(now, request, Stage::Business));
        }
        self.handle_unusual(now, request)
    }

    /// As [`handle_request`](CallTable::handle_request), for whatever there is.
    fn handle_unusual(&mut self, now: Time, request: &Incoming) -> Admission {
        if request.seq < self.base {
            return self.answer_at_once(request, Status::Never(Refusal::Stale));
        }
        if request.seq.0 - self.base.0 >= u64::from(self.limits.window) {
            let why = "the call is beyond the window: wait for earlier calls to be acknowledged";
            return self.refuse(request, RefusalReason::Overloaded, why);
        }
        let index = (request.seq.0 - self.base.0) as usize;
        while self.slots.len() <= index {
            self.slots.push_back(Slot::Vacant);
        }
        match &self.slots[index] {
            Slot::Acked => self.answer_at_once(request, Status::Never(Refusal::Stale)),
            Slot::Running(running) if running.hash != request.hash && kept(Rule::CompareHash) => {
                self.answer_at_once(request, Status::Never(Refusal::IdReused))
            }
            Slot::Done(done) if done.hash != request.hash && kept(Rule::CompareHash) => {
                self.answer_at_once(request, Status::Never(Refusal::IdReused))
            }
            Slot::Running(_) => self.join(request),
            Slot::Done(_) => self.answer_from_table(now, request),
            Slot::Refused(reason, attempt) if request.attempt <= *attempt => {
                let (status, why) = (Status::Refused(*reason), "this attempt was refused before");
                self.respond(request.seq, request.attempt, false, status, why.as_bytes());
                Admission::Handled
            }
            Slot::Vacant | Slot::Refused(..) => self.admit_new(now, request),
        }
    }

    /// A call that is not known here, or was only refused.
    fn admit_new(&mut self, now: Time, request: &Incoming) -> Admission {
        if self.draining {
            let why = "the server is being shut down";
            return self.refuse(request, RefusalReason::ShuttingDown, why);
        }
        if request.settle && request.kind != Kind::Write {
            let why = "the caller gave the call up";
            return self.refuse(request, RefusalReason::Cancelled, why);
        }
        if request.settle {
            let run = self.start(now, request, Stage::Aborting);
            return Admission::Settle(run, AbortReason::Cancelled);
        }
        if self.is_full() {
            let why = "the session has as many calls running as the server allows";
            return self.refuse(request, RefusalReason::Overloaded, why);
        }
        Admission::Run(self.start(now, request, Stage::Business))
    }

    /// Takes no new runs from now on; what runs goes on, and retries join it.
    pub(crate) fn handle_draining(&mut self) {
        if !self.draining {
            self.draining = true;
            if kept(Rule::TellClientsToMove) {
                self.send(ServerFrame::GoAway);
            }
        }
    }

    /// Nobody waits for this call any more.
    pub(crate) fn handle_cancel(&mut self, seq: Seq) {
        self.abort(seq, AbortReason::Cancelled);
    }

    /// Keeps what is needed to stop a run. Gives it back if the run is over.
    pub(crate) fn handle_started(&mut self, seq: Seq, run: RunNumber, handle: R) -> Option<R> {
        match self.slot_mut(seq) {
            Some(Slot::Running(running)) if running.run == run => {
                running.handle = Some(Box::new(handle));
                None
            }
            _ => Some(handle),
        }
    }

    /// Ends the calls whose deadline has passed.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if now < self.next_deadline {
            return;
        }
        self.next_deadline = Time::NEVER;
        for index in 0..self.slots.len() {
            let Slot::Running(running) = &self.slots[index] else { continue };
            if running.stage != Stage::Business {
                continue;
            }
            let (deadline, can_stop) = (running.deadline, running.handle.is_some());
            if deadline <= now && can_stop && kept(Rule::AbortAtDeadline) {
                self.abort(Seq(self.base.0 + index as u64), AbortReason::Deadline);
            } else {
                self.next_deadline = self.next_deadline.min(deadline.max(now + NOT_YET_STOPPABLE));
            }
        }
    }

    /// When [`handle_timeout`](CallTable::handle_timeout) wants to be called.
    pub(crate) fn poll_timeout(&self) -> Time {
        self.next_deadline
    }

    /// What the driver must do beside running calls.
    pub(crate) fn poll_duty(&mut self) -> Option<Duty<R>> {
        self.duties.pop_front()
    }

    /// Whether bytes wait to be sent.
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// How many bytes wait to be sent.
    pub(crate) fn output_len(&self) -> usize {
        self.out.len()
    }

    /// Takes the bytes that wait to be sent; `buffer` must be empty, and is used for the next.
    pub(crate) fn poll_transmit(&mut self, buffer: &mut Vec<u8>) -> bool {
        debug_assert!(buffer.is_empty(), "what was taken must be sent first");
        std::mem::swap(&mut self.out, buffer);
        !buffer.is_empty()
    }

    /// Appends a frame that is no response.
    pub(crate) fn send(&mut self, frame: ServerFrame<'_>) {
        frame.put(&mut self.out);
    }

    /// Takes what the driver keeps for running calls, to stop them all.
    pub(crate) fn take_handles(&mut self) -> Vec<R> {
        let running = self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Running(running) => running.handle.take().map(|handle| *handle),
            _ => None,
        });
        running.collect()
    }

    /// An empty buffer for a response's payload.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        let buffer = self.spare.pop().unwrap_or_default();
        self.spare_bytes -= buffer.capacity();
        buffer
    }

    /// A retry of a call that runs: it joins, and is told so.
    fn join(&mut self, request: &Incoming) -> Admission {
        let Some(Slot::Running(running)) = self.slot_mut(request.seq) else {
            unreachable!("only a running call is joined")
        };
        running.latest = running.latest.max(request.attempt);
        if request.settle {
            self.abort(request.seq, AbortReason::Cancelled);
        }
        self.answer_at_once(request, Status::InProgress)
    }

    /// A retry of a call whose response is held.
    fn answer_from_table(&mut self, now: Time, request: &Incoming) -> Admission {
        let Some(Slot::Done(done)) = self.slot_mut(request.seq) else {
            unreachable!("only a finished call is answered again")
        };
        let settled = done.committed || done.kind != Kind::Write;
        if !settled && request.attempt < done.attempt {
            return Admission::Handled;
        }
        if !settled && request.attempt > done.attempt && kept(Rule::RecordTentativeForRetry) {
            let Some(slot) = self.slot_mut(request.seq) else { unreachable!("matched above") };
            let Slot::Done(done) = std::mem::replace(slot, Slot::Vacant) else {
                unreachable!("matched above")
            };
            self.held -= done.payload.as_slice().len();
            let run = self.start(now, request, Stage::Recording);
            return Admission::Record(run, recordable(done.status, done.payload));
        }
        let header = ResponseHeader {
            seq: request.seq,
            attempt: request.attempt,
            resend: true,
            committed: done.committed,
            status: done.status,
            server_time: Duration::ZERO,
        };
        // Split borrows: the payload lies in the slots, the output beside them.
        let index = (request.seq.0 - self.base.0) as usize;
        if let Slot::Done(done) = &self.slots[index] {
            header.put(done.payload.as_slice(), &mut self.out);
        }
        self.resent += 1;
        Admission::Handled
    }

    fn start(&mut self, now: Time, request: &Incoming, stage: Stage) -> RunNumber {
        let run = self.next_run;
        self.next_run = run.next();
        self.running += 1;
        self.next_deadline = self.next_deadline.min(request.deadline);
        let running = || {
            Slot::Running(Running {
                hash: request.hash,
                kind: request.kind,
                stage,
                run,
                run_attempt: request.attempt,
                latest: request.attempt,
                received: now,
                deadline: request.deadline,
                handle: None,
            })
        };
        match self.slot_mut(request.seq) {
            Some(slot) => *slot = running(),
            // Made where it is to lie: to be moved, it would have to be waited for.
            None => self.slots.extend(std::iter::once_with(running)),
        }
        run
    }

    fn abort(&mut self, seq: Seq, reason: AbortReason) {
        let next_run = self.next_run;
        let Some(Slot::Running(running)) = self.slot_mut(seq) else { return };
        if running.stage == Stage::Business
            && let Some(handle) = running.handle.take()
        {
            (running.stage, running.run) = (Stage::Aborting, next_run);
            self.next_run = next_run.next();
            self.duties.push_back(Duty::Abort(seq, next_run, reason, *handle));
        }
    }

    fn answer_at_once(&mut self, request: &Incoming, status: Status) -> Admission {
        self.respond(request.seq, request.attempt, false, status, &[]);
        Admission::Handled
    }

    /// Refuses an attempt that is later than those that were refused before.
    fn refuse(&mut self, request: &Incoming, reason: RefusalReason, why: &str) -> Admission {
        if let Some(slot @ (Slot::Vacant | Slot::Refused(..))) = self.slot_mut(request.seq) {
            *slot = Slot::Refused(reason, request.attempt);
        }
        self.respond(request.seq, request.attempt, false, Status::Refused(reason), why.as_bytes());
        Admission::Handled
    }

    /// Answers one attempt of a call that is not in the table, and does not enter it.
    pub(crate) fn respond(
        &mut self,
        seq: Seq,
        attempt: Attempt,
        resend: bool,
        status: Status,
        payload: &[u8],
    ) {
        let server_time = Duration::ZERO;
        let committed = false;
        ResponseHeader { seq, attempt, resend, committed, status, server_time }
            .put(payload, &mut self.out);
    }

    pub(super) fn slot_mut(&mut self, seq: Seq) -> Option<&mut Slot<R>> {
        let index = seq.0.checked_sub(self.base.0)?;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }
}
