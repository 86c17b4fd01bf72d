//! Calls with names, and what is asked about them.

use std::task::Waker;

use super::super::outcome::hash;
use super::*;

/// The longest name of a call, in bytes: a key of the business and a word for what it is fit in.
const MAX_NAME: usize = 256;

/// A call in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalledCall {
    /// Its id. The client is 0 in one that was made before the first session was open.
    pub id: CallId,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// The method that is called.
    pub method: String,
    /// Whether its outcome is known: asking for it then asks no server.
    pub has_ended: bool,
}

impl Core {
    /// Makes a call under a name, or goes on with the one that has it.
    ///
    /// # Errors
    /// With how it ended, or why it cannot be made.
    #[allow(clippy::too_many_arguments, reason = "those of `start`, and the name")]
    pub(crate) fn start_named(
        &mut self,
        now: Time,
        name: &str,
        method: MethodId,
        kind: Kind,
        options: Option<Box<CallOptions>>,
        deadline: Time,
        arguments: Vec<u8>,
        waker: &Waker,
    ) -> Result<Seq, NotStarted> {
        let refused = |why: &str| {
            Err(NotStarted::Start(StartError::Refused(NotExecuted::Unnameable(why.to_owned()))))
        };
        let Some(journal) = self.journal.as_deref() else {
            return refused("the client has no journal: give it one with ClientBuilder::journal");
        };
        // Whoever has the name may have been executed, whatever has become of the client.
        if self.closed && !journal.names.contains_key(name) {
            return Err(NotStarted::Start(StartError::Refused(self.closed_reason())));
        }
        if kind != Kind::Write {
            return refused("only writes have names, since only they must not be made twice");
        }
        if name.is_empty() || name.len() > MAX_NAME {
            return refused(&format!("a name has 1 to {MAX_NAME} bytes, this one {}", name.len()));
        }
        match journal.names.get(name).copied() {
            Some(seq) => {
                let joined = self.join_named(now, seq, method, deadline, &arguments, waker);
                joined.map_err(NotStarted::Settled)
            }
            None if deadline <= now => {
                Err(NotStarted::Start(StartError::Refused(NotExecuted::Deadline)))
            }
            None => {
                let name = Some(name.to_owned());
                self.start_as(now, name, method, kind, options, deadline, arguments, waker)
                    .map_err(NotStarted::Start)
            }
        }
    }

    fn join_named(
        &mut self,
        now: Time,
        seq: Seq,
        method: MethodId,
        deadline: Time,
        arguments: &[u8],
        waker: &Waker,
    ) -> Result<Seq, Settled> {
        let id = self.call_id(seq);
        let kept = self.journal.as_deref().and_then(|journal| journal.calls.get(&seq));
        let Some(kept) = kept else { return Err(stale(id)) };
        if kept.method != method || kept.arguments != hash(arguments) {
            let outcome = CallOutcome::not_executed(NotExecuted::IdReused);
            return Err(Settled { id, attempts: 0, outcome, payload: Vec::new() });
        }
        if let Some(ended) = &kept.ended {
            return Err(ended.clone());
        }
        if self.closed {
            let outcome = CallOutcome::unknown(match self.closed_reason() {
                NotExecuted::JournalFailed(why) => Unknown::JournalFailed(why),
                _ => Unknown::ClientClosed,
            });
            return Err(Settled { id, attempts: 0, outcome, payload: Vec::new() });
        }
        self.take_over(now, seq, deadline, waker).ok_or_else(|| {
            let outcome = CallOutcome::unknown(Unknown::AwaitedElsewhere);
            Settled { id, attempts: 0, outcome, payload: Vec::new() }
        })
    }

    /// How a call ended that this journal still tells of.
    pub(in super::super) fn journalled_end(&self, id: CallId) -> Option<(MethodId, u64, Settled)> {
        let kept = self.journal.as_deref()?.calls.get(&id.seq)?;
        let ended = kept.ended.as_ref().filter(|ended| ended.id == id)?;
        kept.name.as_ref()?;
        Some((kept.method, kept.arguments, ended.clone()))
    }

    /// Whether a call has a name, under which it may be asked for at any time.
    pub(in super::super) fn is_named(&self, seq: Seq) -> bool {
        let kept = self.journal.as_deref().and_then(|journal| journal.calls.get(&seq));
        kept.is_some_and(|kept| kept.name.is_some())
    }

    /// Lets go of a named call's outcome, and of its name. Says whether there was an outcome.
    pub(crate) fn forget_named(&mut self, name: &str) -> bool {
        let Some(journal) = self.journal.as_deref_mut() else { return false };
        let Some(&seq) = journal.names.get(name) else { return false };
        if journal.calls.get(&seq).is_none_or(|kept| kept.ended.is_none()) {
            return false;
        }
        journal.changes.push(row::remove(seq.0));
        self.forget_row(seq);
        self.note_changes();
        true
    }

    /// All calls in the journal, the oldest first.
    pub(crate) fn journalled(&self) -> Vec<JournalledCall> {
        let Some(journal) = self.journal.as_deref() else { return Vec::new() };
        let listed = journal.calls.iter().map(|(seq, kept)| {
            let method = self.schema.methods.iter().find(|known| known.id == kept.method);
            JournalledCall {
                id: kept.ended.as_ref().map_or_else(|| self.call_id(*seq), |ended| ended.id),
                name: kept.name.clone(),
                method: method.map_or("", |known| known.name).to_owned(),
                has_ended: kept.ended.is_some(),
            }
        });
        listed.collect()
    }
}

/// Why a call did not get going.
#[derive(Debug)]
pub(crate) enum NotStarted {
    Start(StartError),
    Settled(Settled),
}

fn stale(id: CallId) -> Settled {
    let outcome = CallOutcome::unknown(Unknown::Stale);
    Settled { id, attempts: 0, outcome, payload: Vec::new() }
}
