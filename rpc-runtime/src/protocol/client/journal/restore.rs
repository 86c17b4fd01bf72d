//! The next life of a client: from rows back to calls.

use super::super::call::Call;
use super::super::outcome::KeptOutcome;
use super::super::ring::CallRing;
use super::*;
use crate::id::{ClientId, Incarnation};
use crate::journal::JournalError;
use crate::service::ServiceSchema;

/// The most numbers between the oldest open call and the newest: more than any windows, and any
/// crashes that a client has at once, come to.
const MOST_NUMBERS: u64 = 1 << 20;
/// The method of a call that has ended, where this program has none like it.
const NO_METHOD: MethodId = MethodId(u16::MAX);

/// What a journal held.
#[derive(Debug)]
pub(crate) struct Restored {
    journal: Journal,
    session: Option<(SessionId, SessionSecret)>,
    /// From which number on calls are new.
    next: Seq,
    open: Vec<(Seq, OpenCall)>,
    /// Unnamed calls that have ended, and nobody was told.
    untold: Vec<(Seq, u64, Settled)>,
}

/// A call that is not known to have ended.
#[derive(Debug)]
struct OpenCall {
    method: MethodId,
    arguments: Vec<u8>,
    made_at: Time,
    deadline: Time,
    attempts: u32,
}

impl Restored {
    /// Reads the rows, and says what must be written before anything else is done: the next
    /// incarnation, and the attempts that this life may make.
    ///
    /// # Errors
    /// If they are damaged, of another version or service, or hold an open call of a method that is
    /// not `schema`'s.
    pub(crate) fn from_rows(
        rows: Vec<(u64, Vec<u8>)>,
        schema: &ServiceSchema,
    ) -> Result<(Restored, Vec<Change>), JournalError> {
        let damaged = |detail| JournalError::Damaged { detail };
        let mut rows: BTreeMap<u64, Vec<u8>> = rows.into_iter().collect();
        let head = match rows.remove(&HEAD) {
            Some(row) => read_head(&row, schema)?,
            None if rows.is_empty() => None,
            None => return Err(damaged("there are calls, and no client".to_owned())),
        };
        let mut restored = Restored::empty(schema);
        if let Some(head) = head {
            restored.next = Seq(head.numbers.max(1));
            restored.session = head.session.as_ref().map(SessionRow::parts);
        }
        if let Some((id, _)) = &mut restored.session {
            let next = id.incarnation.0.checked_add(1);
            let next = next.ok_or_else(|| damaged("no incarnation is left".to_owned()))?;
            id.incarnation = Incarnation(next);
        }
        for (key, value) in &rows {
            restored.take_call(Seq(*key), value, schema)?;
        }
        restored.check_numbers().map_err(damaged)?;
        let changes = restored.first_changes(schema);
        Ok((restored, changes))
    }

    fn empty(schema: &ServiceSchema) -> Restored {
        let journal = Journal {
            service: schema.name.to_owned(),
            session: None,
            opening: None,
            numbers: Seq::FIRST,
            numbers_written: Seq::FIRST,
            calls: BTreeMap::new(),
            names: BTreeMap::new(),
            bytes: 0,
            changes: Vec::new(),
            head_due: false,
            numbers_due: false,
            steps: Vec::new(),
            writing: None,
            failure: None,
        };
        let (open, untold) = (Vec::new(), Vec::new());
        Restored { journal, session: None, next: Seq::FIRST, open, untold }
    }

    fn take_call(
        &mut self,
        seq: Seq,
        value: &[u8],
        schema: &ServiceSchema,
    ) -> Result<(), JournalError> {
        let row: CallRow =
            row::read(seq.0, value).map_err(|detail| JournalError::Damaged { detail })?;
        let known = schema.methods.iter().find(|known| {
            known.name == row.method
                && known.fingerprint.0 == row.fingerprint
                && known.kind == Kind::Write
        });
        let method = known.map(|known| known.id);
        let name = row.name;
        let kept = match row.body {
            BodyRow::Open { arguments, made_at, deadline, attempts } => {
                let Some(method) = method else {
                    let client = self.session.map_or(ClientId(0), |(id, _)| id.client);
                    let id = CallId { client, seq };
                    return Err(JournalError::MethodChanged { id, method: row.method });
                };
                let hash = super::super::outcome::hash(&arguments);
                let bytes = ROW_BYTES + arguments.len() + name.as_ref().map_or(0, String::len);
                let (made_at, deadline) = (Time(made_at), Time(deadline));
                // Nothing is sent without a session: what has none is as good as new.
                let used = if self.session.is_some() && rule::kept(Rule::AttemptAboveEarlierLives) {
                    attempts
                } else {
                    0
                };
                let call = OpenCall { method, arguments, made_at, deadline, attempts: used };
                self.open.push((seq, call));
                let attempts = used.saturating_add(AHEAD);
                let attempts_asked = attempts;
                Kept { name, method, arguments: hash, attempts, attempts_asked, bytes, ended: None }
            }
            BodyRow::Ended { client, arguments, attempts, outcome, payload } => {
                let bytes = ROW_BYTES + payload.len();
                let id = CallId { client: ClientId(client), seq };
                let ended = Settled { id, attempts, outcome: outcome_of(outcome), payload };
                let method = method.unwrap_or(NO_METHOD);
                if name.is_none() {
                    self.untold.push((seq, arguments, ended.clone()));
                }
                let (attempts_asked, ended) = (attempts, Some(ended));
                Kept { name, method, arguments, attempts, attempts_asked, bytes, ended }
            }
        };
        self.journal.bytes += kept.bytes;
        if let Some(name) = &kept.name
            && self.journal.names.insert(name.clone(), seq).is_some()
        {
            let detail = format!("two calls are named {name:?}");
            return Err(JournalError::Damaged { detail });
        }
        self.journal.calls.insert(seq, kept);
        Ok(())
    }

    fn check_numbers(&mut self) -> Result<(), String> {
        if let Some((last, _)) = self.journal.calls.last_key_value() {
            let after = last.0.checked_add(1).ok_or("no number is left")?;
            self.next = self.next.max(Seq(after));
        }
        let first = self.open.first().map_or(self.next, |(seq, _)| *seq);
        if self.next.0 - first.0 > MOST_NUMBERS || self.next.0 > u64::MAX / 2 {
            return Err(format!("calls {first} and {} belong to one client", self.next));
        }
        if !rule::kept(Rule::NumberAboveEarlierLives) {
            let last = self.open.last().map_or(0, |(seq, _)| seq.0);
            self.next = Seq(last + 1);
        }
        Ok(())
    }

    /// What is written before this life does anything.
    fn first_changes(&mut self, schema: &ServiceSchema) -> Vec<Change> {
        // No more than there were: else a client that dies at once, again and again, uses them up.
        let numbers = self.next;
        let journal = &mut self.journal;
        (journal.session, journal.numbers, journal.numbers_written) =
            (self.session, numbers, numbers);
        let mut changes = vec![journal.head(numbers)];
        for (seq, call) in &self.open {
            let kept = &journal.calls[seq];
            let body = BodyRow::Open {
                arguments: call.arguments.clone(),
                made_at: call.made_at.0,
                deadline: call.deadline.0,
                attempts: kept.attempts,
            };
            let row = call_row(schema, kept.method, kept.name.clone(), body);
            changes.push(row::put(seq.0, &row));
        }
        changes
    }
}

impl Core {
    /// Goes on with an earlier life. The changes that came with it must be written by now.
    pub(crate) fn restore(&mut self, restored: Restored) {
        let Restored { journal, session, next, open, untold } = restored;
        self.journal = Some(Box::new(journal));
        let base = open.first().map_or(next, |(seq, _)| *seq);
        self.ring = CallRing::resumed(base, next, open.len());
        if let Some((id, secret)) = session {
            self.client = id.client;
            // Each server names its own.
            self.session = Some(Session { id, secret, window: u32::MAX });
        }
        for (seq, call) in open {
            self.note_call_at(call.deadline);
            self.unsent += 1;
            let place = self.ring.get_mut(seq).expect("the ring was made for it");
            begin_again(place, call, self.client);
        }
        for (seq, arguments, settled) in untold {
            let method = self.journal.as_ref().expect("set above").calls[&seq].method;
            self.keep_outcome(KeptOutcome { settled, method, arguments });
        }
    }
}

/// Nobody waits for the call; whoever wants to know asks for it.
fn begin_again(place: &mut Call, call: OpenCall, client: ClientId) {
    let OpenCall { method, arguments, made_at, deadline, attempts } = call;
    let (kind, options, waker) = (Kind::Write, None, None);
    place.begin(NewCall { kind, method, options, client, made_at, deadline, arguments, waker });
    place.attempts = attempts;
    place.caller = Caller::GaveUp;
}

fn read_head(row: &[u8], schema: &ServiceSchema) -> Result<Option<HeadRow>, JournalError> {
    let damaged = |detail| JournalError::Damaged { detail };
    let found = row::format_of(row).map_err(damaged)?;
    if found != FORMAT {
        return Err(JournalError::OtherFormat { found, expected: FORMAT });
    }
    let head: HeadRow = row::read(HEAD, row).map_err(damaged)?;
    if head.service != schema.name {
        let expected = schema.name.to_owned();
        return Err(JournalError::OtherService { found: head.service, expected });
    }
    Ok(Some(head))
}

fn outcome_of(row: OutcomeRow) -> CallOutcome {
    match row {
        OutcomeRow::Success => CallOutcome::Success,
        OutcomeRow::BusinessError => CallOutcome::BusinessError,
        OutcomeRow::Stale => CallOutcome::unknown(Unknown::Stale),
        OutcomeRow::SessionOver => CallOutcome::unknown(Unknown::SessionClosed),
    }
}
