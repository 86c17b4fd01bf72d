//! How a call in the table ends, and what is kept of it until that is acknowledged.

use std::time::Duration;

use super::admission::Duty;
use super::slot::{Answer, Done, Payload, RunNumber, Slot, Stage, committed_parts, recordable};
use super::table::CallTable;
use crate::id::Seq;
use crate::rule::{Rule, kept};
use crate::service::Kind;
use crate::store::{Committed, Encoded, Outcome};
use crate::time::Time;
use crate::wire::response::{MAX_MESSAGE, MIN_SERVER_MICROS, ResponseHeader, Status, put_usual};

/// Buffers of acknowledged responses that are kept for later ones, in bytes: enough for a window of
/// small ones.
const SPARE_BYTES: usize = 128 << 10;
/// The largest of them.
const SPARE_CAPACITY: usize = 4096;

impl<R> CallTable<R> {
    /// Takes how a run ended and answers the latest attempt of its call. Returns an outcome that must
    /// be recorded first, as a run of its own.
    ///
    /// A run that is no longer the call's own is not heard, unless it found a record: what is
    /// recorded holds whoever has found it.
    #[inline(always)]
    pub(crate) fn handle_finished(
        &mut self,
        now: Time,
        seq: Seq,
        run: RunNumber,
        answer: Answer,
    ) -> Option<(RunNumber, Outcome)> {
        match answer {
            Answer::Tentative(status, payload) => {
                self.handle_tentative(now, seq, run, status, payload)
            }
            answer => self.handle_settled(now, seq, run, answer),
        }
    }

    /// As [`handle_finished`](CallTable::handle_finished), for an answer that was not recorded.
    #[inline]
    pub(crate) fn handle_tentative(
        &mut self,
        now: Time,
        seq: Seq,
        run: RunNumber,
        status: Status,
        payload: Payload,
    ) -> Option<(RunNumber, Outcome)> {
        let next_run = self.next_run;
        let Slot::Running(running) = self.slot_mut(seq)? else { return None };
        if running.run != run {
            return None;
        }
        let joined = running.kind == Kind::Write && running.latest > running.run_attempt;
        if joined && kept(Rule::RecordTentativeForRetry) {
            (running.stage, running.run) = (Stage::Recording, next_run);
            self.next_run = next_run.next();
            return Some((next_run, recordable(status, payload)));
        }
        self.finish(now, seq, false, status, payload);
        None
    }

    /// As [`handle_tentative`](CallTable::handle_tentative), for a result that is only lent.
    #[inline(always)]
    pub(crate) fn handle_lent(
        &mut self,
        now: Time,
        seq: Seq,
        run: RunNumber,
        status: Status,
        result: &[u8],
    ) -> Option<(RunNumber, Outcome)> {
        let Slot::Running(running) = self.slot_mut(seq)? else { return None };
        if running.kind == Kind::Write || running.run != run {
            return self.handle_tentative(now, seq, run, status, Payload::Owned(result.to_vec()));
        }
        self.finish_lent(now, seq, false, status, result);
        None
    }

    /// Takes a result that the store has recorded just now, and answers the latest attempt of its call.
    #[inline(always)]
    pub(crate) fn handle_committed(
        &mut self,
        now: Time,
        seq: Seq,
        _proof: &Committed<()>,
        status: Status,
        result: &[u8],
    ) {
        if let Some(Slot::Running(_)) = self.slot_mut(seq) {
            self.finish_lent(now, seq, true, status, result);
        }
    }

    fn handle_settled(
        &mut self,
        now: Time,
        seq: Seq,
        run: RunNumber,
        answer: Answer,
    ) -> Option<(RunNumber, Outcome)> {
        let slot = self.slot_mut(seq)?;
        let Slot::Running(running) = slot else { return None };
        let (status, message) = match answer {
            Answer::Committed(outcome) | Answer::Recorded(outcome) => {
                let (status, payload) = committed_parts(outcome);
                self.finish(now, seq, true, status, payload);
                return None;
            }
            Answer::Tentative(status, payload) => {
                return self.handle_tentative(now, seq, run, status, payload);
            }
            Answer::Refused(reason, message) => (Status::Refused(reason), message),
            Answer::Never(refusal) => (Status::Never(refusal), String::new()),
            Answer::Unknown(message) => (Status::Unknown, message),
        };
        if running.run == run {
            self.handle_no_outcome(seq, status, &message);
        }
        None
    }

    /// The call's own run has left it without an outcome.
    #[cold]
    fn handle_no_outcome(&mut self, seq: Seq, status: Status, message: &str) {
        let Some(slot) = self.slot_mut(seq) else { return };
        let Slot::Running(running) = slot else { return };
        let is_write_cut_short = running.stage == Stage::Aborting && running.kind == Kind::Write;
        let status = match status {
            // The business may have been at its commit when it was stopped. That this record was
            // refused says nothing of that one.
            Status::Refused(_) if is_write_cut_short => Status::Unknown,
            status => status,
        };
        let latest = running.latest;
        *slot = match status {
            Status::Refused(reason) => Slot::Refused(reason, latest),
            _ => Slot::Vacant,
        };
        self.running -= 1;
        self.respond(seq, latest, false, status, truncate(message).as_bytes());
    }

    /// Keeps an outcome until it is acknowledged, and sends it.
    #[inline(always)]
    fn finish(&mut self, now: Time, seq: Seq, committed: bool, status: Status, payload: Payload) {
        if let Some(kept) = self.send_outcome(now, seq, committed, status, payload.as_slice()) {
            *kept = payload;
        }
        self.forget_oldest();
    }

    /// As [`finish`](CallTable::finish), with a copy of the result.
    #[inline]
    fn finish_lent(&mut self, now: Time, seq: Seq, committed: bool, status: Status, result: &[u8]) {
        let long = (!Encoded::is_short(result)).then(|| {
            let mut buffer = self.buffer();
            buffer.extend_from_slice(result);
            buffer
        });
        match (self.send_outcome(now, seq, committed, status, result), long) {
            (Some(kept), Some(long)) => *kept = Payload::Owned(long),
            (Some(Payload::Shared(kept)), None) => kept.fill(result),
            _ => {}
        }
        self.forget_oldest();
    }

    /// Sends an outcome. Returns where it is to be kept, if it is: there are no bytes yet.
    #[inline(always)]
    fn send_outcome(
        &mut self,
        now: Time,
        seq: Seq,
        committed: bool,
        status: Status,
        bytes: &[u8],
    ) -> Option<&mut Payload> {
        let index = (seq.0 - self.base.0) as usize;
        let slot = &mut self.slots[index];
        let Slot::Running(running) = slot else { unreachable!("only a running call finishes") };
        let (hash, kind, attempt) = (running.hash, running.kind, running.latest);
        let micros = now.micros_since(running.received);
        let is_usual =
            status == Status::Success && !attempt.is_retry() && micros < MIN_SERVER_MICROS;
        if !(is_usual && put_usual(seq, committed, bytes, &mut self.out)) {
            let (resend, server_time) = (false, Duration::from_micros(micros));
            ResponseHeader { seq, attempt, resend, committed, status, server_time }
                .put(bytes, &mut self.out);
        }
        self.running -= 1;
        if !kept(Rule::KeepUntilAcked) {
            *slot = Slot::Vacant;
            return None;
        }
        self.held += bytes.len();
        let payload = Payload::Shared(Encoded::empty());
        *slot = Slot::Done(Done { hash, kind, committed, attempt, status, payload });
        let Slot::Done(done) = slot else { unreachable!("it was just put there") };
        Some(&mut done.payload)
    }

    /// Forgets kept responses, oldest first, until they fit. Safe: a table is a cache.
    #[inline]
    fn forget_oldest(&mut self) {
        if self.held > self.limits.max_held_bytes {
            self.forget_some();
        }
    }

    fn forget_some(&mut self) {
        for index in 0..self.slots.len() {
            if self.held <= self.limits.max_held_bytes {
                return;
            }
            if matches!(self.slots[index], Slot::Done(_)) {
                let slot = std::mem::replace(&mut self.slots[index], Slot::Vacant);
                self.release(slot);
            }
        }
    }

    #[inline(always)]
    pub(super) fn release(&mut self, slot: Slot<R>) {
        match slot {
            Slot::Vacant | Slot::Refused(..) | Slot::Acked => {}
            Slot::Running(running) => {
                self.running -= 1;
                if let Some(handle) = running.handle {
                    self.duties.push_back(Duty::Forget(*handle));
                }
            }
            Slot::Done(done) => {
                self.held -= done.payload.as_slice().len();
                if let Payload::Owned(mut buffer) = done.payload
                    && (1..=SPARE_CAPACITY).contains(&buffer.capacity())
                    && self.spare_bytes < SPARE_BYTES
                {
                    buffer.clear();
                    self.spare_bytes += buffer.capacity();
                    self.spare.push(buffer);
                }
            }
        }
    }
}

/// Cuts a message to what may travel.
fn truncate(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}
