//! The documents of a world and the operations on them, each with its own fate.
//!
//! An operation is asked for, is done at some time, and is answered at some time, in this order
//! unless a fault says otherwise. What was asked for by a process that is dead by then may still be
//! done; nobody hears of it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use foldhash::HashMap;
use rpc::store::DocKey;
use rpc::store::cas::{Cas, CasBackend, CasDocument, CasError};

use super::fault::{Fault, Step};
use super::hub::{Event, Hub, State};
use super::plan::Plan;
use super::steps::Fields;
use super::trace::Line;

/// Names an operation.
pub(super) type OpId = usize;

/// All documents and operations.
#[derive(Debug)]
pub(super) struct Documents {
    all: HashMap<DocKey, Stored>,
    last_cas: u64,
    operations: Vec<Operation>,
    /// Retries that have reached a server and were not looked up there yet.
    pub(super) marks: Vec<(u8, u8)>,
    /// What was changed, in order.
    pub(super) log: Vec<Change>,
}

/// A document as it stands.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    document: CasDocument,
    pub(super) fields: Fields,
}

/// One end of the store: what one server has of it.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) hub: Arc<Hub>,
    /// [`NOBODY`] asks without faults.
    pub(super) server: u8,
    /// Which life of the server has it now.
    pub(super) life: Arc<AtomicU32>,
}

/// Who looks at the store when all is over.
pub(super) const NOBODY: u8 = u8::MAX;

#[derive(Debug)]
struct Operation {
    server: u8,
    life: u32,
    key: DocKey,
    what: What,
    step: Option<Step>,
    /// Of the metadata that it writes.
    fields: Fields,
    stage: Stage,
    /// What is answered instead of the truth.
    lie: Option<CasError>,
    /// When it is answered, if not when it is done.
    answer_after: u64,
    asked_ms: u64,
    waker: Option<Waker>,
}

/// A document was changed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) server: u8,
    /// When it was asked for.
    pub(super) asked_ms: u64,
    pub(super) key: DocKey,
    pub(super) step: Option<Step>,
    pub(super) body: Option<Bytes>,
    pub(super) meta: Bytes,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Get,
    Insert { body: Bytes, meta: Bytes },
    Replace { cas: Cas, body: Option<Bytes>, meta: Bytes },
    Remove { cas: Cas },
}

impl What {
    /// The metadata that it writes.
    fn meta(&self) -> Option<&Bytes> {
        match self {
            What::Insert { meta, .. } | What::Replace { meta, .. } => Some(meta),
            What::Get | What::Remove { .. } => None,
        }
    }
}

#[derive(Debug)]
enum Stage {
    Asked,
    Done(Answer),
    Answered(Answer),
    Over,
}

type Answer = Result<Found, CasError>;

/// What an operation found or made.
#[derive(Clone, Debug)]
enum Found {
    Document(Option<CasDocument>),
    Written(Cas),
    Removed,
}

impl Documents {
    pub(super) fn new(plan: &Plan) -> Documents {
        let mut documents = Documents {
            all: HashMap::default(),
            last_cas: 0,
            operations: Vec::new(),
            marks: Vec::new(),
            log: Vec::new(),
        };
        for (key, body) in super::bank::preloaded(plan) {
            documents.last_cas += 1;
            let cas = Cas(documents.last_cas);
            let document = CasDocument { cas, body, meta: Bytes::new() };
            documents.all.insert(key, Stored { document, fields: Fields::default() });
        }
        documents
    }

    /// A document with the fields of its metadata.
    pub(super) fn get(&self, key: &DocKey) -> Option<(&CasDocument, &Fields)> {
        self.all.get(key).map(|stored| (&stored.document, &stored.fields))
    }

    fn apply(&mut self, key: &DocKey, what: &What, fields: &Fields) -> Answer {
        let found = self.all.get(key).map(|stored| &stored.document);
        let matching = |cas: &Cas| found.filter(|found| found.cas == *cas);
        match what {
            What::Get => Ok(Found::Document(found.cloned())),
            What::Insert { .. } if found.is_some() => Err(CasError::Mismatch),
            What::Insert { body, meta } => self.put(key, body.clone(), meta.clone(), fields),
            What::Replace { cas, body, meta } => {
                let kept = matching(cas).ok_or(CasError::Mismatch)?.body.clone();
                self.put(key, body.clone().unwrap_or(kept), meta.clone(), fields)
            }
            What::Remove { cas } => {
                matching(cas).ok_or(CasError::Mismatch)?;
                self.all.remove(key);
                Ok(Found::Removed)
            }
        }
    }

    fn put(&mut self, key: &DocKey, body: Bytes, meta: Bytes, fields: &Fields) -> Answer {
        self.last_cas += 1;
        let cas = Cas(self.last_cas);
        let (document, fields) = (CasDocument { cas, body, meta }, fields.clone());
        match self.all.get_mut(key) {
            Some(stored) => *stored = Stored { document, fields },
            None => drop(self.all.insert(key.clone(), Stored { document, fields })),
        }
        Ok(Found::Written(cas))
    }
}

impl State {
    /// Decides what becomes of an operation that is asked for.
    fn ask(&mut self, plan: &Plan, backend: &Backend, key: &DocKey, what: What) -> OpId {
        let (server, life) = (backend.server, backend.life.load(Ordering::Relaxed));
        let id = self.documents.operations.len();
        let mut operation = Operation {
            server,
            life,
            key: key.clone(),
            what,
            step: None,
            fields: Fields::default(),
            stage: Stage::Asked,
            lie: None,
            answer_after: 0,
            asked_ms: self.now,
            waker: None,
        };
        if server == NOBODY {
            let answer = self.documents.apply(key, &operation.what, &operation.fields);
            operation.stage = Stage::Answered(answer);
            self.documents.operations.push(operation);
            return id;
        }
        operation.fields =
            operation.what.meta().map_or_else(Fields::default, |meta| Fields::of(meta));
        let (step, call) = self.step_of(server, key, &operation.what, &operation.fields);
        let fault = step.and_then(|step| self.take(plan, step, server));
        let fault = fault.filter(|fault| !fault.is_of_frames());
        operation.step = step;
        self.digest_operation(server, key, &operation.what, fault);
        self.trace.push(self.now, || {
            let step = step.map_or("tidy", Step::name);
            let call =
                call.map_or(String::new(), |call| format!(" ({})", super::calls::reference(call)));
            Line::Operation { server, text: format!("{step} {key}{call}"), fault }
        });
        let asked_at = self.now.max(self.frozen_until(server));
        let mut apply_at = asked_at + self.rng.u64(0..=u64::from(plan.store_ms));
        let mut is_done = true;
        if let (Some(step), Some(fault)) = (step, fault) {
            let hit = match fault {
                fault if fault.is_of_store() => {
                    is_done = self.mislead(&mut operation, fault, &mut apply_at);
                    true
                }
                Fault::ServerStall if self.rng.bool() => {
                    // It stands still before it asks.
                    let hit = self.strike(fault, server, 0, call);
                    apply_at = apply_at.max(self.frozen_until(server));
                    hit
                }
                // Else what it asked for is on its way, and may arrive after its death.
                fault => self.strike(fault, server, self.client_of(call), call),
            };
            if hit {
                self.coverage.struck(fault, step);
            }
        }
        self.documents.operations.push(operation);
        self.begin(id, server, life, is_done, apply_at);
        id
    }

    fn begin(&mut self, id: OpId, server: u8, life: u32, is_done: bool, apply_at: u64) {
        let process = self.servers[usize::from(server)];
        let is_dead = !process.alive || process.life != life;
        if is_dead && self.rng.bool() {
            // It died before it could ask.
            return;
        }
        if !is_done {
            let answer = Err(CasError::Mismatch);
            self.documents.operations[id].stage = Stage::Done(answer);
            self.schedule(apply_at, Event::Answer(id));
        } else if apply_at <= self.now {
            self.apply(id);
        } else {
            self.schedule(apply_at, Event::Apply(id));
        }
    }

    /// Lets the store lie about an operation. Returns whether it is done at all.
    fn mislead(&mut self, operation: &mut Operation, fault: Fault, apply_at: &mut u64) -> bool {
        let unsaid = || CasError::Ambiguous(injected());
        let patience = [10, 100, 1_000][self.rng.usize(0..3)];
        match fault {
            Fault::Unavailable => {
                operation.lie = Some(CasError::Unavailable(injected()));
                false
            }
            Fault::TimeoutBefore => {
                operation.lie = Some(unsaid());
                *apply_at += self.rng.u64(0..patience);
                false
            }
            Fault::TimeoutAfter => {
                operation.lie = Some(unsaid());
                operation.answer_after = self.rng.u64(0..patience);
                true
            }
            Fault::TimeoutLate => {
                operation.lie = Some(unsaid());
                let late = self.rng.u64(1..patience);
                *apply_at += late;
                // Answered before it is done.
                operation.answer_after = u64::MAX;
                let id = self.documents.operations.len();
                let early = self.now + self.rng.u64(0..late);
                self.schedule(early, Event::Answer(id));
                true
            }
            _ => {
                if self.rng.bool() {
                    *apply_at += self.rng.u64(1..patience);
                } else {
                    operation.answer_after = self.rng.u64(1..patience);
                }
                true
            }
        }
    }

    /// The store does an operation.
    pub(super) fn apply(&mut self, id: OpId) {
        let operation = &mut self.documents.operations[id];
        let (key, step) = (operation.key.clone(), operation.step);
        // Nobody asks what it is once it is done.
        let what = std::mem::replace(&mut operation.what, What::Get);
        let fields = std::mem::take(&mut operation.fields);
        let (server, asked_ms) = (operation.server, operation.asked_ms);
        let answer = self.documents.apply(&key, &what, &fields);
        self.count_applied(step, answer.is_ok());
        let written = match what {
            What::Insert { body, meta } => Some((Some(body), meta)),
            What::Replace { body, meta, .. } => Some((body, meta)),
            What::Get | What::Remove { .. } => None,
        };
        if let Some((body, meta)) = written.filter(|_| answer.is_ok()) {
            self.documents.log.push(Change { server, asked_ms, key, step, body, meta });
        }
        let operation = &mut self.documents.operations[id];
        if matches!(operation.stage, Stage::Asked) {
            let after = operation.answer_after;
            operation.stage = Stage::Done(answer);
            match after {
                u64::MAX => {}
                0 => self.answer(id),
                after => self.schedule(self.now + after, Event::Answer(id)),
            }
        }
    }

    /// The store's answer arrives, unless nobody is there, or stands still.
    pub(super) fn answer(&mut self, id: OpId) {
        let Operation { server, life, .. } = self.documents.operations[id];
        let process = self.servers[usize::from(server)];
        if !process.alive || process.life != life {
            return;
        }
        if process.frozen_until > self.now {
            return self.schedule(process.frozen_until, Event::Answer(id));
        }
        let operation = &mut self.documents.operations[id];
        operation.stage = match std::mem::replace(&mut operation.stage, Stage::Over) {
            // A late write is done after its answer: the lie is all there is.
            Stage::Asked => Stage::Answered(Err(CasError::Mismatch)),
            Stage::Done(answer) => Stage::Answered(answer),
            other => other,
        };
        self.wakers.extend(operation.waker.take());
    }

    /// A server dies: some of what it has asked for is never done.
    pub(super) fn lose_operations(&mut self, server: u8, life: u32) {
        for operation in &mut self.documents.operations {
            let is_its = (operation.server, operation.life) == (server, life);
            if is_its && matches!(operation.stage, Stage::Asked) && self.rng.u8(0..2) == 0 {
                operation.what = What::Get;
            }
        }
    }

    fn count_applied(&mut self, step: Option<Step>, happened: bool) {
        let figures = &mut self.figures;
        match (step, happened) {
            (Some(Step::Forward), true) => figures.rolled_forward += 1,
            (Some(Step::Back), true) => figures.rolled_back += 1,
            (Some(Step::Fence), true) => figures.fences_won += 1,
            (Some(Step::Fence), false) => figures.fences_lost += 1,
            _ => {}
        }
    }

    fn client_of(&self, call: Option<u8>) -> u8 {
        call.map_or(0, |call| self.calls.all[usize::from(call)].client)
    }

    fn digest_operation(&mut self, server: u8, key: &DocKey, what: &What, fault: Option<Fault>) {
        let (kind, cas) = match what {
            What::Get => (0, 0),
            What::Insert { .. } => (1, 0),
            What::Replace { cas, .. } => (2, cas.0),
            What::Remove { cas } => (3, cas.0),
        };
        let words =
            [u64::from(server) << 8 | kind, cas, fault.map_or(u64::MAX, |fault| fault as u64)];
        self.digest(b'o', words, key.as_str().as_bytes());
        // Bodies of sessions hold secrets, which are random.
        if let Some(meta) = what.meta() {
            self.digest(b'm', [0; 3], meta);
        }
    }
}

impl Backend {
    async fn run(&self, key: &DocKey, what: What) -> Answer {
        let id = self.hub.with(|state| state.ask(&self.hub.plan, self, key, what));
        Pending { backend: self, id }.await
    }
}

/// An operation that was asked for.
struct Pending<'a> {
    backend: &'a Backend,
    id: OpId,
}

impl Future for Pending<'_> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.backend.hub.with(|state| {
            let operation = &mut state.documents.operations[self.id];
            match std::mem::replace(&mut operation.stage, Stage::Over) {
                Stage::Answered(answer) => Poll::Ready(operation.lie.take().map_or(answer, Err)),
                other => {
                    operation.stage = other;
                    operation.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl CasBackend for Backend {
    async fn get(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        match self.run(key, What::Get).await {
            Ok(Found::Document(document)) => Ok(document),
            Ok(_) => unreachable!("a read finds a document or none"),
            // A read that was not answered has found nothing out.
            Err(CasError::Ambiguous(cause)) => Err(CasError::Unavailable(cause)),
            Err(error) => Err(error),
        }
    }

    async fn insert(&self, key: &DocKey, body: Bytes, meta: Bytes) -> Result<Cas, CasError> {
        written(self.run(key, What::Insert { body, meta }).await)
    }

    async fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> Result<Cas, CasError> {
        written(self.run(key, What::Replace { cas, body, meta }).await)
    }

    async fn remove(&self, key: &DocKey, cas: Cas) -> Result<(), CasError> {
        self.run(key, What::Remove { cas }).await.map(|_| ())
    }
}

fn written(answer: Answer) -> Result<Cas, CasError> {
    match answer? {
        Found::Written(cas) => Ok(cas),
        _ => unreachable!("a write makes a new state"),
    }
}

fn injected() -> Arc<dyn std::error::Error + Send + Sync> {
    Arc::new(io::Error::other("a fault of the simulation"))
}
