//! The same work with less protection: what the figures of the store stand beside.

use std::time::Duration;

use bytes::Bytes;
use rpc::store::DocKey;
use rpc::store::cas::{CasBackend, CasError};

use super::account::Account;
use super::{account_key, key};
use crate::simulated::SimulatedBackend;

/// Read, change, compare-and-swap, until it works; one document after the other. A crash or an
/// ambiguous answer loses or doubles a change, and a transfer is seen half done.
pub(super) struct Unprotected {
    pub(super) backend: SimulatedBackend,
}

/// A lock document for each document, taken in the order of their keys, so that nobody waits in a
/// circle. Atomic while nobody crashes; who crashes leaves the locks, and half of a transfer.
pub(super) struct Locked {
    pub(super) backend: SimulatedBackend,
    pub(super) rng: fastrand::Rng,
}

/// The longest pause before a lock is tried again.
const MAX_LOCK_PAUSE: Duration = Duration::from_millis(64);

impl super::Caller for Unprotected {
    fn name(&self) -> u64 {
        0
    }

    async fn call(&mut self, _: u64, accounts: &[u64]) {
        for number in accounts {
            while !change(&self.backend, *number, *number == accounts[0]).await {}
        }
    }
}

impl super::Caller for Locked {
    fn name(&self) -> u64 {
        0
    }

    async fn call(&mut self, _: u64, accounts: &[u64]) {
        let mut locks: Vec<DocKey> =
            accounts.iter().map(|number| key(&format!("lock-{number}"))).collect();
        locks.sort();
        let mut held = Vec::new();
        for lock in locks {
            held.push((self.lock(&lock).await, lock));
        }
        for number in accounts {
            assert!(
                change(&self.backend, *number, *number == accounts[0]).await,
                "nobody else changes what is locked"
            );
        }
        for (cas, lock) in held {
            self.backend.remove(&lock, cas).await.expect("rivals run without faults");
        }
    }
}

impl Locked {
    async fn lock(&mut self, lock: &DocKey) -> rpc::store::cas::Cas {
        let mut longest = Duration::from_millis(2);
        loop {
            match self.backend.insert(lock, Bytes::from_static(b"null"), Bytes::new()).await {
                Ok(cas) => return cas,
                Err(CasError::Mismatch) => {}
                Err(error) => panic!("rivals run without faults: {error}"),
            }
            tokio::time::sleep(longest.mul_f64(self.rng.f64())).await;
            longest = (longest * 2).min(MAX_LOCK_PAUSE);
        }
    }
}

/// One read and one conditional write; `false` if somebody else was first.
async fn change(backend: &SimulatedBackend, number: u64, is_first: bool) -> bool {
    let key = account_key(number);
    let found = backend.get(&key).await.expect("rivals run without faults");
    let found = found.expect("accounts are never deleted");
    let mut account = Account::decode(&found.body);
    account.apply(is_first, None);
    match backend.replace(&key, found.cas, Some(account.encode()), found.meta).await {
        Ok(_) => true,
        Err(CasError::Mismatch) => false,
        Err(error) => panic!("rivals run without faults: {error}"),
    }
}
