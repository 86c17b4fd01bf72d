//! Servers on the simulated store whose operations wait or go wrong on cue: interleavings, step by
//! step.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rpc::store::DocKey;
use rpc::store::cas::{Cas, CasBackend, CasDocument, CasError, CasStore};
use rpc::time::WallTime;
use tokio::sync::Notify;

use super::SimulatedBackend;
use crate::conformance::{Caller, Draft, key, must_commit};

/// One server's connection to the documents, some of whose operations wait or go wrong.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    documents: SimulatedBackend,
    script: Arc<Mutex<VecDeque<Cue>>>,
}

/// Each cue is for one operation, and the first that fits counts.
#[derive(Debug)]
struct Cue {
    kind: Kind,
    key: DocKey,
    /// How many fitting operations go by before.
    skip: usize,
    event: Event,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It reads.
    Get,
    /// It inserts, replaces or removes.
    Write,
}

/// What happens to an operation.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is done once it is let go.
    Wait(Held),
    /// It is not done, and the answer leaves it open.
    AmbiguousNotDone,
    /// An insert that gets to the store when it is let go; its caller hears before that its outcome
    /// is open.
    AmbiguousLate(Held),
}

/// An operation that waits.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Told when the operation is asked for.
    pub reached: Arc<Notify>,
    /// To be told when it may go on.
    pub go: Arc<Notify>,
}

impl Scripted {
    /// A connection on which all goes well, until a cue says otherwise.
    #[must_use]
    pub fn on(documents: &SimulatedBackend) -> Scripted {
        Scripted { documents: documents.clone(), ..Scripted::default() }
    }

    /// Lets an operation wait, after so many that go by.
    pub fn hold(&self, kind: Kind, key: &DocKey, skip: usize) -> Held {
        let held = Held::default();
        self.cue(kind, key, skip, Event::Wait(held.clone()));
        held
    }

    /// Says what happens to an operation, after so many that go by.
    pub fn cue(&self, kind: Kind, key: &DocKey, skip: usize, event: Event) {
        self.script.lock().unwrap().push_back(Cue { kind, key: key.clone(), skip, event });
    }

    /// Whether no cue for writes of this document is left: the last one is being played.
    #[must_use]
    pub fn is_held(&self, key: &DocKey) -> bool {
        let script = self.script.lock().unwrap();
        script.iter().all(|cue| cue.kind != Kind::Write || cue.key != *key)
    }

    /// Takes the cue of an operation, and plays it. Returns what an insert waits for that is late.
    async fn play(&self, kind: Kind, key: &DocKey) -> Result<Option<Held>, CasError> {
        match self.cue_of(kind, key) {
            None => Ok(None),
            Some(Event::Wait(held)) => {
                held.reached.notify_one();
                held.go.notified().await;
                Ok(None)
            }
            Some(Event::AmbiguousNotDone) => Err(ambiguous()),
            Some(Event::AmbiguousLate(held)) => Ok(Some(held)),
        }
    }

    fn cue_of(&self, kind: Kind, key: &DocKey) -> Option<Event> {
        let mut script = self.script.lock().unwrap();
        let place = script.iter().position(|cue| cue.kind == kind && cue.key == *key)?;
        if script[place].skip == 0 {
            return script.remove(place).map(|cue| cue.event);
        }
        script[place].skip -= 1;
        None
    }
}

fn ambiguous() -> CasError {
    CasError::Ambiguous(Arc::new(std::io::Error::other("scripted")))
}

impl CasBackend for Scripted {
    async fn get(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        self.play(Kind::Get, key).await?;
        self.documents.get(key).await
    }

    async fn insert(&self, key: &DocKey, body: Bytes, meta: Bytes) -> Result<Cas, CasError> {
        let Some(late) = self.play(Kind::Write, key).await? else {
            return self.documents.insert(key, body, meta).await;
        };
        let (documents, key) = (self.documents.clone(), key.clone());
        tokio::spawn(async move {
            late.go.notified().await;
            // Nobody waits for what becomes of it.
            let _ = documents.insert(&key, body, meta).await;
            late.reached.notify_one();
        });
        Err(ambiguous())
    }

    async fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> Result<Cas, CasError> {
        self.play(Kind::Write, key).await?;
        self.documents.replace(key, cas, body, meta).await
    }

    async fn remove(&self, key: &DocKey, cas: Cas) -> Result<(), CasError> {
        self.play(Kind::Write, key).await?;
        self.documents.remove(key, cas).await
    }
}

/// The documents of a test, and two servers on them.
#[derive(Debug)]
pub struct Two {
    /// What both are on.
    pub documents: SimulatedBackend,
    /// A server and its connection.
    pub first: (Scripted, Arc<CasStore<Scripted>>),
    /// The other one.
    pub second: (Scripted, Arc<CasStore<Scripted>>),
}

/// Two servers on the documents `doc`, `b` and `c`.
pub async fn two_servers(clock: impl Fn() -> WallTime + Clone + Send + Sync + 'static) -> Two {
    let documents = SimulatedBackend::new();
    let server = |seed| {
        let backend = Scripted::on(&documents);
        (backend.clone(), Arc::new(CasStore::with_seed(backend, seed, clock.clone())))
    };
    let (first, second) = (server(1), server(2));
    let opener = Caller::open(&*first.1).await;
    for (number, name) in (1..).zip(["doc", "b", "c"]) {
        let mut draft = opener.acknowledging_below(number).commit(number);
        draft.call.anchor = Some(key(name));
        must_commit(&*first.1, draft.putting(&key(name), b"\"old\"")).await;
    }
    Two { documents, first, second }
}
