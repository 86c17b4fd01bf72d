//! The documents, and what a call does to them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An account as it lies in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) balance: i64,
    /// How many calls took part.
    pub(super) changes: u64,
    /// Which, as client and number, if they are to be listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) calls: Vec<(u64, u64)>,
}

impl Account {
    pub(super) fn opened() -> Account {
        Account { balance: 1_000_000, changes: 0, calls: Vec::new() }
    }

    /// Takes one from the first of a call's accounts, gives it to the others.
    pub(super) fn apply(&mut self, is_first: bool, listed: Option<(u64, u64)>) {
        self.balance += if is_first { -1 } else { 1 };
        self.changes += 1;
        self.calls.extend(listed);
    }

    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("an account is JSON").into()
    }

    pub(super) fn decode(body: &[u8]) -> Account {
        serde_json::from_slice(body).expect("only accounts are written")
    }
}
