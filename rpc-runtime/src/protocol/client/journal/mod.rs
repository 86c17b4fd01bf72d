//! A client that remembers its calls across a crash: what is written down before what.
//!
//! | what | is done only once it is written down |
//! | --- | --- |
//! | a write call is sent | the call: method, arguments, name, deadline |
//! | an attempt has a number | one at least as high, of which a later life begins above |
//! | a call has a number | a bound above it, from which a later life goes on |
//! | anything is sent in a session | the session's id and secret |
//! | a caller is told, and the call is acknowledged | the outcome, or that there is nothing to keep |
//! | a session is gone on with | the next incarnation |
//!
//! All that is waiting to be written when the driver asks is one [batch](Core::poll_journal), which is
//! written as a whole or not at all; [`handle_journalled`](Core::handle_journalled) then does what has
//! waited for it. So a call costs two writes, and many calls at once cost hardly more.
//!
//! Reads and plain calls are not written down, since making them anew does no harm; only their
//! numbers are bounded ahead. A call's row goes when its caller has taken the outcome. That of a
//! *named* call stays until it is forgotten, and answers whoever makes the call again under its name.
//!
//! The time is microseconds since the epoch in a client with a journal, so that a deadline means the
//! same in its next life.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | what is written when, and what goes on then |
//! | `named.rs` | calls with names, and what is asked about them |
//! | `restore.rs` | the next life: from rows back to calls |
//! | `row.rs` | the rows as bytes |

mod named;
mod restore;
mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::named::JournalledCall;
pub(crate) use self::named::NotStarted;
pub(crate) use self::restore::Restored;
use self::row::{BodyRow, CallRow, FORMAT, HEAD, HeadRow, OutcomeRow, SessionRow};
use super::call::{CallState, Caller, NewCall};
use super::endpoint::Link;
use super::outcome::Settled;
use super::{CallOptions, CallOutcome, Core, EndpointId, Event, Session, StartError};
use crate::error::{NotExecuted, Unknown};
use crate::id::{CallId, MethodId, Seq, SessionId, SessionSecret};
use crate::journal::Change;
use crate::rule::{self, Rule};
use crate::schema::Fingerprint;
use crate::service::Kind;
use crate::time::Time;
use crate::wire::handshake::Welcome;

/// How many attempts of a call, or numbers of calls, are written down ahead.
const AHEAD: u32 = 256;
/// What a row takes beside its call's bytes, roughly: keys, names of methods, the engine's own.
const ROW_BYTES: usize = 256;

/// What a journalled client knows of its journal.
#[derive(Debug)]
pub(super) struct Journal {
    service: String,
    /// What the client's own row says of the session.
    session: Option<(SessionId, SessionSecret)>,
    /// A session that was opened, and is not written down yet.
    opening: Option<Opening>,
    /// Numbers below this may be used.
    numbers: Seq,
    /// What of it is written, or being written.
    numbers_written: Seq,
    calls: BTreeMap<Seq, Kept>,
    names: BTreeMap<String, Seq>,
    /// What the rows take.
    bytes: usize,
    changes: Vec<Change>,
    /// The client's own row is to be written.
    head_due: bool,
    /// And more numbers with it, for calls that have no row.
    numbers_due: bool,
    /// What goes on once the changes are written.
    steps: Vec<Step>,
    /// What goes on once the batch is written that the driver has.
    writing: Option<Vec<Step>>,
    /// Why nothing can be written any more.
    failure: Option<String>,
}

/// A session whose welcome has come.
#[derive(Debug)]
struct Opening {
    endpoint: EndpointId,
    session: Session,
    max_frame: usize,
}

/// A call with a row.
#[derive(Debug)]
struct Kept {
    name: Option<String>,
    method: MethodId,
    /// A hash of the arguments.
    arguments: u64,
    /// Attempts up to this one are written down: none, before the call is.
    attempts: u32,
    /// The same once all that is on its way there is written.
    attempts_asked: u32,
    bytes: usize,
    /// How it ended, if its row says so.
    ended: Option<Settled>,
}

/// What goes on once something is written.
#[derive(Debug)]
enum Step {
    /// This call, whose attempts up to this one are now written down.
    Send(Seq, u32),
    Finish(Seq, CallOutcome, Vec<u8>),
    EnterSession,
    UseNumbers(Seq),
}

impl Core {
    /// The next batch for the journal; `None` if there is nothing to write, or one is being written.
    pub(crate) fn poll_journal(&mut self) -> Option<Vec<Change>> {
        let next = self.ring.next_seq();
        let journal = self.journal.as_deref_mut()?;
        if journal.writing.is_some() || !journal.has_changes() || journal.failure.is_some() {
            return None;
        }
        // Numbers that no row will tell of any more must not be used again either.
        let ahead = if journal.numbers_due { AHEAD } else { 0 };
        let numbers = Seq(next.0 + u64::from(ahead)).max(journal.numbers_written);
        if journal.head_due || journal.numbers_written < numbers {
            journal.numbers_written = numbers;
            (journal.head_due, journal.numbers_due) = (false, false);
            journal.steps.push(Step::UseNumbers(numbers));
            let change = journal.head(numbers);
            journal.changes.push(change);
        }
        journal.writing = Some(std::mem::take(&mut journal.steps));
        Some(std::mem::take(&mut journal.changes))
    }

    /// The batch is durable.
    pub(crate) fn handle_journalled(&mut self, now: Time) {
        self.handle_time(now);
        let Some(journal) = self.journal.as_deref_mut() else { return };
        for step in journal.writing.take().unwrap_or_default() {
            match step {
                Step::Send(seq, attempts) => self.send_journalled(now, seq, attempts),
                Step::Finish(seq, outcome, payload) => self.finish(seq, outcome, &payload),
                Step::EnterSession => self.enter_session(now),
                Step::UseNumbers(numbers) => self.use_numbers(numbers),
            }
        }
        self.note_changes();
    }

    /// Nothing can be written down any more, so nothing can be done any more: the client ends, and
    /// its next life settles what is open.
    pub(crate) fn handle_journal_failed(&mut self, error: &str) {
        let Some(journal) = self.journal.as_deref_mut() else { return };
        journal.failure = Some(error.to_owned());
        self.closed = true;
        let failed = error.to_owned();
        self.abandon_all(
            &Unknown::JournalFailed(failed.clone()),
            &NotExecuted::JournalFailed(failed),
        );
        for index in 0..self.endpoints.len() {
            self.endpoints[index].link = Link::Down { retry_at: Time::NEVER };
            self.events.push_back(Event::Close(EndpointId(index as u16)));
        }
        self.wakers.extend(self.window_waiters.drain(..).map(|(_, waker)| waker));
    }

    /// Why no call can be made any more, once the client is closed.
    pub(super) fn closed_reason(&self) -> NotExecuted {
        let failure = self.journal.as_ref().and_then(|journal| journal.failure.clone());
        failure.map_or(NotExecuted::ClientClosed, NotExecuted::JournalFailed)
    }

    /// Whether a number may be given to a call that is not written down. If not, more are seen to.
    pub(super) fn may_number(&mut self) -> bool {
        let next = self.ring.next_seq();
        let Some(journal) = self.journal.as_deref_mut() else { return true };
        let few = u64::from(AHEAD / 2);
        if next.0 + few >= journal.numbers_written.0 && !journal.numbers_due {
            (journal.head_due, journal.numbers_due) = (true, true);
            self.note_changes();
        }
        let journal = self.journal.as_deref().expect("it was there just now");
        next < journal.numbers || !rule::kept(Rule::NumberAboveEarlierLives)
    }

    /// Begins a write call: it is sent once it is written down.
    pub(super) fn start_journalled(
        &mut self,
        name: Option<String>,
        new: NewCall,
    ) -> Result<Seq, StartError> {
        let bytes = ROW_BYTES + new.arguments.len() + name.as_ref().map_or(0, String::len);
        let limit = self.config.max_journal_bytes;
        let used = self.journal.as_ref().map_or(0, |journal| journal.bytes);
        if used + bytes > limit {
            return Err(StartError::Refused(NotExecuted::JournalFull { limit }));
        }
        self.count_call(new.kind);
        self.note_call_at(new.deadline);
        let (method, now) = (new.method, new.made_at);
        let arguments = super::outcome::hash(&new.arguments);
        let (seq, call) = self.ring.push();
        call.begin(new);
        call.state = CallState::Unwritten;
        self.unsent += 1;
        let kept = Kept {
            name: name.clone(),
            method,
            arguments,
            attempts: 0,
            attempts_asked: AHEAD,
            bytes,
            ended: None,
        };
        let journal = self.journal.as_deref_mut().expect("asked for by its caller");
        journal.bytes += bytes;
        journal.calls.insert(seq, kept);
        if let Some(name) = name {
            journal.names.insert(name, seq);
        }
        self.write_open(seq);
        if !rule::kept(Rule::JournalBeforeSend) {
            self.send_journalled(now, seq, AHEAD);
        }
        Ok(seq)
    }

    /// Puts a call off whose next attempt has a number that is not written down yet. Says whether it
    /// did.
    pub(super) fn must_journal_attempt(&mut self, seq: Seq) -> bool {
        let Some(journal) = self.journal.as_deref_mut() else { return false };
        let Some(call) = self.ring.pending_mut(seq) else { return false };
        let Some(kept) = journal.calls.get_mut(&seq) else { return false };
        if call.attempts < kept.attempts {
            return false;
        }
        let is_asked = kept.attempts_asked > kept.attempts;
        if !is_asked {
            kept.attempts_asked = kept.attempts.saturating_add(AHEAD);
        }
        self.unsend(seq, CallState::Unwritten);
        if let Some(call) = self.ring.pending_mut(seq) {
            call.next_at = Time::NEVER;
        }
        if !is_asked {
            self.write_open(seq);
        }
        true
    }

    /// Writes down how a call ended, which it does once that is done. Says whether that is needed.
    pub(super) fn must_journal_end(
        &mut self,
        seq: Seq,
        outcome: &CallOutcome,
        payload: &[u8],
    ) -> bool {
        let client = self.call_id(seq).client;
        let Some(journal) = self.journal.as_deref_mut() else { return false };
        let Some(kept) = journal.calls.get(&seq) else { return false };
        let Some(call) = self.ring.get_mut(seq) else { return false };
        let is_for_nobody = call.caller == Caller::Dropped && kept.name.is_none();
        let row = match outcome_row(outcome) {
            Some(outcome) if !is_for_nobody => {
                let body = BodyRow::Ended {
                    client: client.0,
                    arguments: kept.arguments,
                    attempts: call.attempts,
                    outcome,
                    payload: payload.to_vec(),
                };
                let name = kept.name.clone();
                row::put(seq.0, &call_row(&self.schema, kept.method, name, body))
            }
            _ => row::remove(seq.0),
        };
        call.state = CallState::Ending;
        journal.changes.push(row);
        journal.steps.push(Step::Finish(seq, outcome.clone(), payload.to_vec()));
        self.note_changes();
        if !rule::kept(Rule::JournalBeforeAck) {
            self.finish(seq, outcome.clone(), payload);
        }
        true
    }

    /// A call with a row has ended, and its row says so.
    pub(super) fn note_ended(&mut self, seq: Seq, outcome: &CallOutcome, payload: &[u8]) {
        let id = self.call_id(seq);
        let Some(journal) = self.journal.as_deref_mut() else { return };
        let Some(kept) = journal.calls.get_mut(&seq) else { return };
        let attempts = self.ring.get(seq).map_or(0, |call| call.attempts);
        if outcome_row(outcome).is_none() {
            return self.forget_row(seq);
        }
        journal.bytes = journal.bytes + payload.len() - kept.bytes + ROW_BYTES;
        kept.bytes = payload.len() + ROW_BYTES;
        // What is unnamed lies in its call's place, or among the kept outcomes.
        let payload = if kept.name.is_some() { payload.to_vec() } else { Vec::new() };
        kept.ended = Some(Settled { id, attempts, outcome: outcome.clone(), payload });
    }

    /// The outcome of an unnamed call is with its caller, or with nobody: its row goes with the next
    /// batch, which nobody makes haste for. A row that is open stays: its call is the next life's.
    pub(super) fn forget_unnamed(&mut self, seq: Seq) {
        let Some(journal) = self.journal.as_deref_mut() else { return };
        let is_done = |kept: &Kept| kept.name.is_none() && kept.ended.is_some();
        if journal.calls.get(&seq).is_some_and(is_done) {
            journal.changes.push(row::remove(seq.0));
            self.forget_row(seq);
        }
    }

    /// The session has ended, or another one has begun: `None` until it is written down.
    pub(super) fn journal_no_session(&mut self) {
        if let Some(journal) = self.journal.as_deref_mut()
            && journal.session.take().is_some()
        {
            journal.head_due = true;
            self.note_changes();
        }
    }

    /// A session was opened for this client: it is entered once it is written down.
    pub(super) fn journal_session(&mut self, endpoint: EndpointId, welcome: &Welcome) {
        let Some(journal) = self.journal.as_deref_mut() else { return };
        let (id, secret) = (welcome.session, welcome.secret);
        let session = Session { id, secret, window: welcome.window };
        journal.session = Some((id, secret));
        journal.opening = Some(Opening { endpoint, session, max_frame: welcome.max_frame });
        journal.head_due = true;
        journal.steps.push(Step::EnterSession);
        self.note_changes();
    }

    /// Whether a session was opened that is not written down yet.
    pub(super) fn is_entering_session(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.opening.is_some())
    }

    fn enter_session(&mut self, now: Time) {
        let Some(journal) = self.journal.as_deref_mut() else { return };
        let Some(Opening { endpoint, session, max_frame }) = journal.opening.take() else { return };
        if !self.closed {
            self.begin_session(now, session);
            self.come_up(now, endpoint, max_frame);
        }
    }

    /// The call is written down as it is now.
    fn write_open(&mut self, seq: Seq) {
        let Some(journal) = self.journal.as_deref_mut() else { return };
        let (Some(kept), Some(call)) = (journal.calls.get(&seq), self.ring.get(seq)) else {
            return;
        };
        let body = BodyRow::Open {
            arguments: call.buffer.clone(),
            made_at: call.made_at.0,
            deadline: call.deadline.0,
            attempts: kept.attempts_asked,
        };
        let row = call_row(&self.schema, kept.method, kept.name.clone(), body);
        journal.changes.push(row::put(seq.0, &row));
        journal.steps.push(Step::Send(seq, kept.attempts_asked));
        self.note_changes();
    }

    fn send_journalled(&mut self, now: Time, seq: Seq, attempts: u32) {
        if let Some(journal) = self.journal.as_deref_mut()
            && let Some(kept) = journal.calls.get_mut(&seq)
        {
            kept.attempts = attempts;
        }
        if self.ring.get(seq).is_none_or(|call| call.state != CallState::Unwritten) {
            return;
        }
        match self.choose(None) {
            Some(endpoint) => self.send_to(now, seq, endpoint),
            None => self.queue(seq),
        }
    }

    fn use_numbers(&mut self, numbers: Seq) {
        let Some(journal) = self.journal.as_deref_mut() else { return };
        journal.numbers = journal.numbers.max(numbers);
        self.wakers.extend(self.window_waiters.drain(..).map(|(_, waker)| waker));
    }

    fn forget_row(&mut self, seq: Seq) {
        let Some(journal) = self.journal.as_deref_mut() else { return };
        let Some(kept) = journal.calls.remove(&seq) else { return };
        journal.bytes -= kept.bytes;
        if let Some(name) = &kept.name {
            journal.names.remove(name);
        }
    }

    /// Has the driver ask for the next batch, if there is one.
    fn note_changes(&mut self) {
        let Some(journal) = self.journal.as_deref() else { return };
        let is_told = matches!(self.events.back(), Some(Event::Journal));
        if journal.has_changes() && journal.writing.is_none() && !is_told {
            self.events.push_back(Event::Journal);
        }
    }
}

impl Journal {
    fn has_changes(&self) -> bool {
        !self.changes.is_empty() || self.head_due
    }

    fn head(&self, numbers: Seq) -> Change {
        let session = self.session.map(|(id, secret)| SessionRow::new(id, secret));
        let service = self.service.clone();
        row::put(HEAD, &HeadRow { format: FORMAT, service, session, numbers: numbers.0 })
    }
}

fn call_row(
    schema: &crate::service::ServiceSchema,
    method: MethodId,
    name: Option<String>,
    body: BodyRow,
) -> CallRow {
    let known = schema.methods.iter().find(|known| known.id == method);
    let (method, fingerprint) =
        known.map_or(("", Fingerprint(0)), |known| (known.name, known.fingerprint));
    CallRow { method: method.to_owned(), fingerprint: fingerprint.0, name, body }
}

/// What is kept of an outcome: nothing of a call that was not executed.
fn outcome_row(outcome: &CallOutcome) -> Option<OutcomeRow> {
    match outcome {
        CallOutcome::Success => Some(OutcomeRow::Success),
        CallOutcome::BusinessError => Some(OutcomeRow::BusinessError),
        CallOutcome::NotExecuted(_) => None,
        CallOutcome::Unknown(reason) if **reason == Unknown::Stale => Some(OutcomeRow::Stale),
        CallOutcome::Unknown(_) => Some(OutcomeRow::SessionOver),
    }
}
