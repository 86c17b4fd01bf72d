//! What a client remembers across a crash: a journal that can be made to wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rpc::journal::{Change, Journal, JournalError, JournalFuture};
use tokio::sync::watch;

/// The disk of a client. Each of its lives has a [`Journal`] on it; only that of the latest life
/// writes.
#[derive(Clone, Debug)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    holds: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    life: u32,
    rows: BTreeMap<u64, Vec<u8>>,
}

/// The journal of one life.
#[derive(Debug)]
struct Life {
    number: u32,
    disk: Disk,
    holds: watch::Receiver<bool>,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk { state: Arc::default(), holds: watch::Sender::new(false) }
    }
}

impl Disk {
    /// The journal of the next life; those of earlier ones write nothing any more.
    #[must_use]
    pub fn next_life(&self) -> impl Journal {
        let number = {
            let mut state = self.lock();
            state.life += 1;
            state.life
        };
        Life { number, disk: self.clone(), holds: self.holds.subscribe() }
    }

    /// What is written waits from now on, or goes on.
    pub fn hold(&self, holds: bool) {
        self.holds.send_replace(holds);
    }

    /// The life that has written last is over: what it has not written yet never will be.
    pub fn end_life(&self) {
        self.lock().life += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Life {
    fn load(&self) -> JournalFuture<'_, Vec<(u64, Vec<u8>)>> {
        let rows = self.disk.lock().rows.clone();
        Box::pin(async { Ok(rows.into_iter().collect()) })
    }

    fn write(&self, changes: Vec<Change>) -> JournalFuture<'_, ()> {
        Box::pin(async move {
            let mut holds = self.holds.clone();
            let _gone = holds.wait_for(|holds| !holds).await;
            let mut state = self.disk.lock();
            if state.life != self.number {
                return Err(JournalError::Other("this life is over".into()));
            }
            for Change { key, value } in changes {
                match value {
                    Some(value) => state.rows.insert(key, value),
                    None => state.rows.remove(&key),
                };
            }
            Ok(())
        })
    }
}
