//! The journals of clients: rows that outlive them, written in a time of their own, with a point
//! before and behind each write at which the client may die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rpc::journal::{Change, Journal, JournalError, JournalFuture};

use super::fault::Step;
use super::hub::Hub;

/// What is on the disk of each client, by client and row.
pub(super) type Rows = BTreeMap<u64, Vec<u8>>;

/// The journal of a client as one of its lives has it.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) hub: Arc<Hub>,
    pub(super) client: u8,
    pub(super) life: u32,
}

/// The longest that a write takes, in milliseconds.
pub(super) const WRITE_MS: u64 = 3;

impl Disk {
    /// A point at which something may strike. An error: the client is dead.
    fn pass_point(&self) -> Result<(), JournalError> {
        let Disk { hub, client, life } = self;
        hub.with(|state| {
            let server = state.rng.u8(0..hub.plan.servers);
            if state.is_living(*client, *life)
                && let Some(fault) = state.take(&hub.plan, Step::Journal, server)
                && state.strike(fault, server, *client, None)
            {
                state.coverage.struck(fault, Step::Journal);
            }
            match state.is_living(*client, *life) {
                true => Ok(()),
                false => Err(JournalError::Other("the client is dead".into())),
            }
        })
    }
}

impl Journal for Disk {
    fn load(&self) -> JournalFuture<'_, Vec<(u64, Vec<u8>)>> {
        let rows = self.hub.with(|state| state.journals[usize::from(self.client)].clone());
        Box::pin(async { Ok(rows.into_iter().collect()) })
    }

    fn write(&self, changes: Vec<Change>) -> JournalFuture<'_, ()> {
        Box::pin(async move {
            self.pass_point()?;
            let took = self.hub.with(|state| state.rng.u64(0..=WRITE_MS));
            if took > 0 {
                tokio::time::sleep(Duration::from_millis(took)).await;
            }
            self.hub.with(|state| {
                if !state.is_living(self.client, self.life) {
                    return;
                }
                let rows = &mut state.journals[usize::from(self.client)];
                for Change { key, value } in changes {
                    match value {
                        Some(value) => rows.insert(key, value),
                        None => rows.remove(&key),
                    };
                }
            });
            self.pass_point()
        })
    }
}
