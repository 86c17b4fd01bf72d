//! A server whose store is filled beforehand.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rpc::id::{ArgumentHash, Attempt, CallId, Identity, Incarnation, Seq, SessionSecret};
use rpc::store::{
    CallRef, Commit, CommitOutcome, DocKey, EmbeddedConfig, EmbeddedStore, Encoded, Lease,
    MemoryStore, Outcome, Store, Write,
};
use rpc::time::WallTime;
use rpc::{Server, ServerConfig};

use crate::contender::ours::{WorkServer, Worker, account_name};
use crate::durable::grown;

/// How long the server keeps the table of a session that has no connection: short, so that what a
/// session takes beside it can be seen.
pub(crate) const DETACHED_TTL: Duration = Duration::from_secs(2);

/// Commits in flight while the store is filled, and documents in each.
const AT_ONCE: usize = 1024;
const DOCUMENTS_EACH: u64 = 50;

/// Fills a store, then serves; prints the address.
pub(crate) async fn serve(
    durable: bool,
    accounts: u64,
    records: u64,
) -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    let config = EmbeddedConfig::default();
    let mut store: Arc<dyn Store> = if durable {
        Arc::new(grown::open(data.path(), config.clone()).await?)
    } else {
        Arc::new(MemoryStore::new())
    };
    fill(&store, accounts, records).await?;
    if durable {
        // What was filled in is put into the tree, so that its checkpoint is not measured.
        drop(store);
        store = Arc::new(EmbeddedStore::open(data.path(), config)?);
    }
    let config = ServerConfig::default().detached_ttl(DETACHED_TTL);
    let server =
        Server::builder(WorkServer::new(Worker), store).config(config).bind("127.0.0.1:0").await?;
    println!("{}", server.address());
    server.serve().await;
    Ok(())
}

/// Writes the accounts, then leaves so many records of calls that nobody has acknowledged.
async fn fill(store: &Arc<dyn Store>, accounts: u64, records: u64) -> Result<(), Box<dyn Error>> {
    let lease = Lease::from(WallTime::now(), Lease::DEFAULT);
    let secret = SessionSecret([7; 16]);
    let session = store.open_session(&Identity::anonymous(), secret, lease).await?;
    let mut running = tokio::task::JoinSet::new();
    let documents = (0..accounts).step_by(DOCUMENTS_EACH as usize);
    let bundles = documents.map(|first| first..accounts.min(first + DOCUMENTS_EACH));
    let all = bundles.chain(std::iter::repeat_n(0..0, records as usize));
    for (number, bundle) in all.enumerate() {
        let id = CallId { client: session.client, seq: Seq(number as u64 + 1) };
        let commit = commit(id, bundle)?;
        let store = Arc::clone(store);
        running.spawn(async move { store.commit(commit).await });
        if running.len() >= AT_ONCE {
            expect_committed(running.join_next().await)?;
        }
    }
    while !running.is_empty() {
        expect_committed(running.join_next().await)?;
    }
    Ok(())
}

fn commit(id: CallId, accounts: std::ops::Range<u64>) -> Result<Commit, Box<dyn Error>> {
    let body = Encoded::from(b"{\"balance\":1}");
    let writes = accounts.map(|account| {
        let key = DocKey::new("account", &account_name(account))?;
        Ok::<_, Box<dyn Error>>(Write { key, body: Some(body.clone()) })
    });
    Ok(Commit {
        call: CallRef {
            id,
            incarnation: Incarnation::FIRST,
            attempt: Attempt::FIRST,
            born: WallTime::now(),
            hash: ArgumentHash::of(1, &id.seq.0.to_le_bytes()),
            anchor: None,
            watermark: Seq::FIRST,
        },
        reads: Vec::new(),
        writes: writes.collect::<Result<_, _>>()?,
        result: Outcome::Success(Encoded::from(b"done")),
    })
}

type Committed = Result<CommitOutcome, rpc::store::StoreError>;

fn expect_committed(
    done: Option<Result<Committed, tokio::task::JoinError>>,
) -> Result<(), Box<dyn Error>> {
    match done.ok_or("a commit was running")??? {
        CommitOutcome::Committed(_) => Ok(()),
        other => Err(format!("a new call is applied, not {other:?}").into()),
    }
}
