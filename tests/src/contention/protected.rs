//! Calls through the exactly-once store, as a server makes them.

use std::sync::Arc;
use std::time::Duration;

use rpc::id::Attempt;
use rpc::store::cas::CasStore;
use rpc::store::{Commit, CommitOutcome, LookUp, ReadVersion, Store, StoreError, Write};
use rpc::time::WallTime;
use tokio::time::Instant;

use super::account::Account;
use super::account_key;
use crate::conformance::{self, success};
use crate::simulated::SimulatedBackend;

/// A client with a session. Its calls go to one server; after trouble with the store, to the next.
pub(super) struct Protected {
    servers: Vec<Arc<CasStore<SimulatedBackend>>>,
    server: usize,
    client: conformance::Caller,
    origin: Instant,
    list_calls: bool,
    cut_off: u32,
    rng: fastrand::Rng,
}

/// How long an attempt lives that is cut off, at most: a few store operations.
const SHORT_LIFE: Duration = Duration::from_millis(40);
/// The longest pause after trouble with the store.
const MAX_PAUSE: Duration = Duration::from_millis(64);

impl Protected {
    pub(super) async fn open(
        servers: Vec<Arc<CasStore<SimulatedBackend>>>,
        server: usize,
        (list_calls, cut_off): (bool, u32),
        rng: fastrand::Rng,
    ) -> Protected {
        let client = conformance::Caller::open(&*servers[server]).await;
        Protected { servers, server, client, origin: Instant::now(), list_calls, cut_off, rng }
    }

    /// One attempt, run until it ends. `Err`: the store could not say.
    async fn attempt(
        &self,
        seq: u64,
        attempt: u32,
        born: WallTime,
        accounts: &[u64],
    ) -> Result<(), StoreError> {
        let store = &*self.servers[self.server];
        let mut draft = self.client.commit(seq);
        draft.call.anchor = Some(account_key(accounts[0]));
        draft.call.attempt = Attempt(attempt);
        draft.call.born = born;
        if attempt > 1 {
            match store.look_up(&draft.call).await? {
                LookUp::Recorded(_) => return Ok(()),
                LookUp::Unknown => {}
                LookUp::Refused(refusal) => panic!("a live call was refused: {refusal:?}"),
            }
        }
        loop {
            let mut commit = draft.clone();
            self.business(store, &mut commit, accounts).await?;
            match store.commit(commit).await? {
                CommitOutcome::Committed(_) | CommitOutcome::Recorded(_) => return Ok(()),
                CommitOutcome::Conflict => tokio::task::yield_now().await,
                CommitOutcome::Refused(refusal) => panic!("a live call was refused: {refusal:?}"),
            }
        }
    }

    async fn business(
        &self,
        store: &dyn Store,
        commit: &mut Commit,
        accounts: &[u64],
    ) -> Result<(), StoreError> {
        let id = commit.call.id;
        let listed = self.list_calls.then_some((id.client.0, id.seq.0));
        for number in accounts {
            let key = account_key(*number);
            let seen = store.read(&key).await?;
            commit.reads.push(ReadVersion::new(key.clone(), &seen));
            let mut account = Account::decode(&seen.body.expect("accounts are never deleted"));
            account.apply(*number == accounts[0], listed);
            commit.writes.push(Write { key, body: Some(account.encode().into()) });
        }
        commit.result = success(&id.seq.0.to_le_bytes());
        Ok(())
    }
}

impl super::Caller for Protected {
    fn name(&self) -> u64 {
        self.client.session.client.0
    }

    async fn call(&mut self, seq: u64, accounts: &[u64]) {
        let since_start = self.origin.elapsed().as_millis();
        let born = WallTime(u64::try_from(since_start).expect("a run is short"));
        let mut attempt = 1;
        loop {
            let is_cut_off = self.rng.u32(0..1000) < self.cut_off;
            let life = is_cut_off.then(|| SHORT_LIFE.mul_f64(self.rng.f64()));
            let run = self.attempt(seq, attempt, born, accounts);
            // No limit is an hour: tests end before.
            let life = life.unwrap_or(Duration::from_secs(3600));
            if let Ok(Ok(())) = tokio::time::timeout(life, run).await {
                break;
            }
            attempt += 1;
            self.server = (self.server + 1) % self.servers.len();
            let longest = Duration::from_millis(1 << attempt.min(6)).min(MAX_PAUSE);
            tokio::time::sleep(longest.mul_f64(self.rng.f64())).await;
        }
        self.client = self.client.acknowledging_below(seq + 1);
    }
}
