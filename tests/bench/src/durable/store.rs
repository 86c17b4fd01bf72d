//! The embedded store itself: one session, and this many commits in flight at once.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc::id::{
    ArgumentHash, Attempt, CallId, Identity, Incarnation, Seq, SessionId, SessionSecret,
};
use rpc::store::{
    CallRef, Commit, CommitOutcome, DocKey, EmbeddedConfig, EmbeddedStore, Lease, Outcome,
    ReadVersion, Store, Write,
};
use rpc::time::WallTime;
use tokio::task::LocalSet;

use super::{DOCUMENT_BYTES, DOCUMENTS, Measured, Measuring, RECORD_BYTES, document_number};

/// An open store with the documents in it, and a session.
pub(super) struct Committer {
    store: Arc<EmbeddedStore>,
    session: SessionId,
    /// The session's calls that are not acknowledged, lowest first; and the next one's number.
    open: RefCell<std::collections::BTreeSet<u64>>,
    next: Cell<u64>,
}

impl Committer {
    pub(super) async fn open(directory: &Path) -> Result<Rc<Committer>, Box<dyn Error>> {
        let store = Arc::new(EmbeddedStore::open(directory, EmbeddedConfig::default())?);
        let lease = Lease::from(WallTime::now(), Lease::DEFAULT);
        let (who, secret) = (Identity::anonymous(), SessionSecret([7; 16]));
        let session = store.open_session(&who, secret, lease).await?;
        let next = Cell::new(1);
        let committer = Rc::new(Committer { store, session, open: RefCell::default(), next });
        const AT_ONCE: u64 = 50;
        for first in (0..DOCUMENTS).step_by(AT_ONCE as usize) {
            let documents: Vec<u64> = (first..DOCUMENTS.min(first + AT_ONCE)).collect();
            committer.commit(&documents).await?;
        }
        Ok(committer)
    }

    /// Commits one document a call, for this long.
    pub(super) async fn run(
        self: &Rc<Committer>,
        in_flight: usize,
        time: Duration,
    ) -> Result<Measured, Box<dyn Error>> {
        let committer = Rc::clone(self);
        drive(in_flight, time, move |document| {
            let committer = Rc::clone(&committer);
            async move { committer.commit(&[document]).await }
        })
        .await
    }

    async fn commit(&self, documents: &[u64]) -> Result<(), Box<dyn Error>> {
        let seq = self.next.get();
        self.next.set(seq + 1);
        self.open.borrow_mut().insert(seq);
        // A document that others change meanwhile is read again, as the runtime does.
        loop {
            match self.store.commit(self.draft(seq, documents).await?).await? {
                CommitOutcome::Committed(_) => break,
                CommitOutcome::Conflict => {}
                other => return Err(format!("a new call is applied, not {other:?}").into()),
            }
        }
        self.open.borrow_mut().remove(&seq);
        Ok(())
    }

    async fn draft(&self, seq: u64, documents: &[u64]) -> Result<Commit, Box<dyn Error>> {
        let mut commit = Commit {
            call: CallRef {
                id: CallId { client: self.session.client, seq: Seq(seq) },
                incarnation: Incarnation::FIRST,
                attempt: Attempt::FIRST,
                born: WallTime::now(),
                hash: ArgumentHash::of(1, &seq.to_le_bytes()),
                anchor: None,
                watermark: Seq(*self.open.borrow().first().expect("this call is open")),
            },
            reads: Vec::new(),
            writes: Vec::new(),
            result: Outcome::Success(vec![b'r'; RECORD_BYTES].into()),
        };
        for document in documents {
            let key = DocKey::new("account", &document_number(*document))?;
            let seen = self.store.read(&key).await?;
            commit.reads.push(ReadVersion::new(key.clone(), &seen));
            commit.writes.push(Write { key, body: Some(vec![b'd'; DOCUMENT_BYTES].into()) });
        }
        Ok(commit)
    }
}

/// Writes documents drawn by chance, so many at once, for this long.
pub(super) async fn drive<F: Future<Output = Result<(), Box<dyn Error>>> + 'static>(
    in_flight: usize,
    time: Duration,
    write: impl Fn(u64) -> F + Clone + 'static,
) -> Result<Measured, Box<dyn Error>> {
    let measuring = Measuring::begin();
    let start = measuring.start;
    let callers: Vec<_> = (0..in_flight)
        .map(|caller| {
            let write = write.clone();
            tokio::task::spawn_local(async move {
                let mut random = fastrand::Rng::with_seed(caller as u64);
                let mut each = Vec::new();
                while start.elapsed() < time {
                    let begun = Instant::now();
                    let done = write(random.u64(..DOCUMENTS)).await;
                    done.map_err(|error| error.to_string())?;
                    each.push(begun.elapsed());
                }
                Ok::<_, String>(each)
            })
        })
        .collect();
    let mut each = Vec::new();
    for caller in callers {
        each.extend(caller.await??);
    }
    Ok(measuring.end(each.len(), each))
}

/// Runs what spawns local tasks.
pub(super) fn block_on<T>(
    work: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(work))
}
