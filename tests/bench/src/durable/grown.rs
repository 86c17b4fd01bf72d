//! An embedded store whose log has grown to its full length.
//!
//! A new log grows as it is filled, block by block, each of which is then written twice. That is over
//! with the first hundred megabytes of a store's life, and no cost of the calls that come after.

use std::error::Error;
use std::path::Path;

use rpc::id::{
    ArgumentHash, Attempt, CallId, Identity, Incarnation, Seq, SessionId, SessionSecret,
};
use rpc::store::{
    CallRef, Commit, CommitOutcome, DocKey, EmbeddedConfig, EmbeddedStore, Encoded, Lease, Outcome,
    Store, Write,
};
use rpc::time::WallTime;

/// How much of the log each commit takes.
const BYTES: usize = 256 << 10;

/// Opens a store and fills its log once, with one document that is deleted at the end.
pub(crate) async fn open(
    directory: &Path,
    config: EmbeddedConfig,
) -> Result<EmbeddedStore, Box<dyn Error>> {
    let commits = (config.log_bytes / BYTES) as u64;
    let store = EmbeddedStore::open(directory, config)?;
    let lease = Lease::from(WallTime::now(), Lease::DEFAULT);
    let (who, secret) = (Identity::anonymous(), SessionSecret([6; 16]));
    let session = store.open_session(&who, secret, lease).await?;
    for seq in 1..=commits {
        let body = (seq < commits).then(|| Encoded::from(&[b'x'; BYTES][..]));
        match store.commit(commit(session, seq, body)?).await? {
            CommitOutcome::Committed(_) => {}
            other => return Err(format!("a new call is applied, not {other:?}").into()),
        }
    }
    store.close_session(session).await?;
    Ok(store)
}

fn commit(session: SessionId, seq: u64, body: Option<Encoded>) -> Result<Commit, Box<dyn Error>> {
    let call = CallRef {
        id: CallId { client: session.client, seq: Seq(seq) },
        incarnation: Incarnation::FIRST,
        attempt: Attempt::FIRST,
        born: WallTime::now(),
        hash: ArgumentHash::of(1, &seq.to_le_bytes()),
        anchor: None,
        watermark: Seq(seq),
    };
    let key = DocKey::new("filling", &"log")?;
    let (reads, writes) = (Vec::new(), vec![Write { key, body }]);
    Ok(Commit { call, reads, writes, result: Outcome::Success(Encoded::empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::store::block_on;

    #[test]
    fn the_log_has_its_full_length() {
        let place = tempfile::tempdir().unwrap();
        let log_bytes = 4 << 20;
        let config = EmbeddedConfig::default().log_bytes(log_bytes);
        drop(block_on(open(place.path(), config)).unwrap());
        let files = std::fs::read_dir(place.path()).unwrap();
        let lengths: Vec<u64> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
        // But for its last block, perhaps, which no whole commit has reached.
        assert!(lengths.iter().any(|length| *length >= log_bytes as u64), "{lengths:?}");
    }
}
