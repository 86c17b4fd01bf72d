//! A key-value store with compare-and-swap in memory, with faults on demand, that counts its
//! operations. Clones are handles on the same documents, as servers of one cluster have them.

pub mod scripted;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rpc::store::DocKey;
use rpc::store::cas::{Cas, CasBackend, CasDocument, CasError};

/// The simulated store.
#[derive(Clone, Debug, Default)]
pub struct SimulatedBackend {
    shared: Arc<Mutex<Shared>>,
}

/// How often each operation was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Reads.
    pub gets: u64,
    /// Writes: inserts, replaces, removes.
    pub writes: u64,
}

/// What goes wrong, in parts of a thousand of all operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Nothing is done, and the answer says so.
    pub unavailable: u32,
    /// A write is done, and the answer leaves it open.
    pub ambiguous_done: u32,
    /// A write is not done, and the answer leaves it open.
    pub ambiguous_not_done: u32,
    /// The longest that an operation takes, before and after it is done.
    pub delay: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    documents: HashMap<DocKey, CasDocument>,
    last_cas: u64,
    operations: Operations,
    faults: Faults,
    rng: Option<fastrand::Rng>,
}

/// What becomes of one operation.
struct Fate {
    before: Duration,
    after: Duration,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unavailable,
    AmbiguousDone,
    AmbiguousNotDone,
}

impl SimulatedBackend {
    /// An empty store without faults.
    #[must_use]
    pub fn new() -> SimulatedBackend {
        SimulatedBackend::default()
    }

    /// Lets things go wrong from now on, decided by `seed`.
    pub fn set_faults(&self, seed: u64, faults: Faults) {
        let mut shared = self.lock();
        shared.faults = faults;
        shared.rng = Some(fastrand::Rng::with_seed(seed));
    }

    /// How often each operation was asked for since the last time.
    pub fn take_operations(&self) -> Operations {
        std::mem::take(&mut self.lock().operations)
    }

    /// How many documents there are, logically absent ones among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().documents.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of all documents, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<DocKey> {
        let mut keys: Vec<DocKey> = self.lock().documents.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// A document as it lies in the store.
    #[must_use]
    pub fn peek(&self, key: &str) -> Option<CasDocument> {
        let shared = self.lock();
        shared.documents.iter().find(|(known, _)| known.as_str() == key).map(|(_, d)| d.clone())
    }

    /// Gives a document another body, as if a write had made it.
    ///
    /// # Panics
    /// If it is not there.
    pub fn rewrite(&self, key: &DocKey, body: impl Into<Bytes>) {
        let mut shared = self.lock();
        let meta = shared.documents[key].meta.clone();
        shared.put(key, body.into(), meta);
    }

    fn decide(&self, is_write: bool) -> Fate {
        let mut shared = self.lock();
        if is_write {
            shared.operations.writes += 1;
        } else {
            shared.operations.gets += 1;
        }
        let faults = shared.faults;
        let Some(rng) = &mut shared.rng else {
            return Fate { before: Duration::ZERO, after: Duration::ZERO, fault: None };
        };
        let die = rng.u32(0..1000);
        let (done, not_done) =
            if is_write { (faults.ambiguous_done, faults.ambiguous_not_done) } else { (0, 0) };
        let fault = if die < faults.unavailable {
            Some(Fault::Unavailable)
        } else if die < faults.unavailable + done {
            Some(Fault::AmbiguousDone)
        } else if die < faults.unavailable + done + not_done {
            Some(Fault::AmbiguousNotDone)
        } else {
            None
        };
        let (before, after) = (faults.delay.mul_f64(rng.f64()), faults.delay.mul_f64(rng.f64()));
        Fate { before, after, fault }
    }

    /// Does a write, with whatever is to go wrong with it.
    async fn write<T>(
        &self,
        act: impl FnOnce(&mut Shared) -> Result<T, CasError>,
    ) -> Result<T, CasError> {
        let fate = self.decide(true);
        pause(fate.before).await;
        let done = match fate.fault {
            Some(Fault::Unavailable) => return Err(CasError::Unavailable(injected())),
            Some(Fault::AmbiguousNotDone) => return Err(CasError::Ambiguous(injected())),
            Some(Fault::AmbiguousDone) | None => act(&mut self.lock()),
        };
        pause(fate.after).await;
        match fate.fault {
            Some(Fault::AmbiguousDone) if done.is_ok() => Err(CasError::Ambiguous(injected())),
            _ => done,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn put(&mut self, key: &DocKey, body: Bytes, meta: Bytes) -> Cas {
        self.last_cas += 1;
        let cas = Cas(self.last_cas);
        self.documents.insert(key.clone(), CasDocument { cas, body, meta });
        cas
    }

    fn matching(&self, key: &DocKey, cas: Cas) -> Result<&CasDocument, CasError> {
        self.documents.get(key).filter(|found| found.cas == cas).ok_or(CasError::Mismatch)
    }
}

impl CasBackend for SimulatedBackend {
    async fn get(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        let fate = self.decide(false);
        pause(fate.before).await;
        if fate.fault.is_some() {
            return Err(CasError::Unavailable(injected()));
        }
        let found = self.lock().documents.get(key).cloned();
        pause(fate.after).await;
        Ok(found)
    }

    async fn insert(&self, key: &DocKey, body: Bytes, meta: Bytes) -> Result<Cas, CasError> {
        self.write(|shared| {
            if shared.documents.contains_key(key) {
                return Err(CasError::Mismatch);
            }
            Ok(shared.put(key, body, meta))
        })
        .await
    }

    async fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> Result<Cas, CasError> {
        self.write(|shared| {
            let kept = shared.matching(key, cas)?.body.clone();
            Ok(shared.put(key, body.unwrap_or(kept), meta))
        })
        .await
    }

    async fn remove(&self, key: &DocKey, cas: Cas) -> Result<(), CasError> {
        self.write(|shared| {
            shared.matching(key, cas)?;
            shared.documents.remove(key);
            Ok(())
        })
        .await
    }
}

async fn pause(duration: Duration) {
    if duration > Duration::ZERO {
        tokio::time::sleep(duration).await;
    }
}

fn injected() -> Arc<dyn std::error::Error + Send + Sync> {
    Arc::new(std::io::Error::other("a fault of the simulation"))
}
