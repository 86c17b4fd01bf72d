//! The embedded store itself: one session, and this many commits in flight at once. The same for the
//! store without ids.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpc::id::{
    ArgumentHash, Attempt, CallId, Identity, Incarnation, Seq, SessionId, SessionSecret,
};
use rpc::store::{
    CallRef, CommitOutcome, DocKey, Draft, Drafted, EmbeddedConfig, EmbeddedStore, Lease, Lent,
    ReadVersion, Store, Write,
};
use rpc::time::WallTime;
use tokio::task::LocalSet;

use super::without_ids::{self, WithoutIds};
use super::{DOCUMENT_BYTES, DOCUMENTS, Measured, Measuring, RECORD_BYTES, document_number, grown};

/// How many documents a commit has that fills a store.
const AT_ONCE: usize = 50;

/// The calls of a session from the first that is not acknowledged: whether each has ended.
struct Calls {
    first: u64,
    ended: VecDeque<bool>,
}

/// A call, and what it read and writes.
type Parts = (CallRef, Vec<ReadVersion>, Vec<Write>);

/// An open store with the documents in it, and a session.
pub(super) struct Committer {
    store: Arc<EmbeddedStore>,
    session: SessionId,
    calls: RefCell<Calls>,
    /// When all calls were sent, as far as the store is told: who measures would pay for the clock.
    born: WallTime,
}

impl Committer {
    pub(super) async fn open(
        directory: &Path,
        config: EmbeddedConfig,
    ) -> Result<Rc<Committer>, Box<dyn Error>> {
        let store = Arc::new(grown::open(directory, config).await?);
        let lease = Lease::from(WallTime::now(), Lease::DEFAULT);
        let (who, secret) = (Identity::anonymous(), SessionSecret([7; 16]));
        let session = store.open_session(&who, secret, lease).await?;
        let calls = RefCell::new(Calls { first: 1, ended: VecDeque::new() });
        let committer = Rc::new(Committer { store, session, calls, born: WallTime::now() });
        for documents in all_documents().chunks(AT_ONCE) {
            committer.commit(documents).await?;
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

    /// Writes these documents in one commit.
    pub(super) async fn commit(&self, documents: &[u64]) -> Result<(), Box<dyn Error>> {
        let seq = self.calls.borrow_mut().begin();
        // A document that others change meanwhile is read again, as the runtime does.
        loop {
            let (call, mut reads, mut writes) = self.draft(seq, documents)?;
            // As a server asks: what it lends stays where it is.
            let (reads, writes) = (&mut reads, &mut writes);
            let result = Lent::Brief(&[b'r'; RECORD_BYTES]);
            match self.store.commit_draft(Draft { call: &call, reads, writes, result }) {
                Drafted::Applied(wait, _) => {
                    wait.durable().await?;
                    break;
                }
                other => match other.whole().await? {
                    CommitOutcome::Committed(_) => break,
                    CommitOutcome::Conflict => {}
                    other => return Err(format!("a new call is applied, not {other:?}").into()),
                },
            }
        }
        self.calls.borrow_mut().end(seq);
        Ok(())
    }

    fn draft(&self, seq: u64, documents: &[u64]) -> Result<Parts, Box<dyn Error>> {
        let call = CallRef {
            id: CallId { client: self.session.client, seq: Seq(seq) },
            incarnation: Incarnation::FIRST,
            attempt: Attempt::FIRST,
            born: self.born,
            hash: ArgumentHash::of(1, &seq.to_le_bytes()),
            anchor: None,
            watermark: Seq(self.calls.borrow().first),
        };
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for document in documents {
            let key = DocKey::new("account", &document_number(*document))?;
            let mut body = None;
            let read = self.store.read_at_hand(&key, &mut body);
            let read = read.ok_or("the embedded store waits for no read")??;
            reads.push(ReadVersion::at_hand(key.clone(), read, body.is_some()));
            writes.push(Write { key, body: Some(vec![b'd'; DOCUMENT_BYTES].into()) });
        }
        Ok((call, reads, writes))
    }
}

impl Calls {
    fn begin(&mut self) -> u64 {
        self.ended.push_back(false);
        self.first + self.ended.len() as u64 - 1
    }

    fn end(&mut self, seq: u64) {
        self.ended[(seq - self.first) as usize] = true;
        while self.ended.front() == Some(&true) {
            self.ended.pop_front();
            self.first += 1;
        }
    }
}

/// Fills the store without ids.
pub(super) async fn open_without_ids(directory: &Path) -> Result<Rc<WithoutIds>, Box<dyn Error>> {
    let store = Rc::new(WithoutIds::open(directory)?);
    for documents in all_documents().chunks(AT_ONCE) {
        commit_without_id(&store, documents).await?;
    }
    Ok(store)
}

/// As [`Committer::run`].
pub(super) async fn run_without_ids(
    store: &Rc<WithoutIds>,
    in_flight: usize,
    time: Duration,
) -> Result<Measured, Box<dyn Error>> {
    let store = Rc::clone(store);
    drive(in_flight, time, move |document| {
        let store = Rc::clone(&store);
        async move { commit_without_id(&store, &[document]).await }
    })
    .await
}

/// As [`Committer::commit`].
pub(super) async fn commit_without_id(
    store: &WithoutIds,
    documents: &[u64],
) -> Result<(), Box<dyn Error>> {
    loop {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for document in documents {
            let key = DocKey::new("account", &document_number(*document))?;
            let (_, read) = store.read(&key)?;
            reads.push(read);
            let body = Some(vec![b'd'; DOCUMENT_BYTES].into());
            writes.push(without_ids::Write { key, body });
        }
        if store.commit(reads, writes).await? {
            return Ok(());
        }
    }
}

/// Writes documents drawn by chance, so many at once, for this long.
async fn drive<F: Future<Output = Result<(), Box<dyn Error>>> + 'static>(
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

fn all_documents() -> Vec<u64> {
    (0..DOCUMENTS).collect()
}

/// Runs what spawns local tasks.
pub(super) fn block_on<T>(
    work: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(work))
}
