//! The sessions that a server knows: their call tables, and the connection that each has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::stats::{Counters, add};
use crate::id::{ClientId, Identity, Incarnation, Seq, SessionId};
use crate::protocol::server::{Answer, CallTable, Duty, RunNumber, TableLimits};
use crate::store::{CallRef, Outcome};
use crate::time::Time;

/// How long a session is quiet before it gives back the memory that only traffic needs.
const QUIET: Duration = Duration::from_secs(1);

/// All sessions of one server, by identity and client, in an order that is the same in every run.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_peer: Mutex<BTreeMap<Identity, BTreeMap<ClientId, Arc<Session>>>>,
}

/// One session: its call table, shared by whatever connection it has and by the calls that run.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: CallTable<Run>,
    /// Which connection the session has: a later one takes over from an earlier.
    connection: u64,
    attached: bool,
    waker: Option<Waker>,
    last_traffic: Time,
    renewed: Time,
}

/// What is kept for a running call, so that it can be stopped and ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) task: AbortHandle,
    /// For a write: what its aborted record goes under.
    pub(super) call: Option<CallRef>,
}

/// The identity has as many sessions here as it may have.
#[derive(Debug)]
pub(super) struct TooManySessions;

impl Sessions {
    /// The session's table, kept from an earlier connection or new. A later incarnation begins
    /// with an empty one: what ran for the earlier is fenced.
    pub(super) fn attach(
        &self,
        identity: &Identity,
        id: SessionId,
        watermark: Seq,
        limits: TableLimits,
        max_sessions: usize,
        now: Time,
    ) -> Result<(Arc<Session>, u64), TooManySessions> {
        let mut by_peer = self.lock();
        let sessions = by_peer.entry(identity.clone()).or_default();
        let kept = sessions.get(&id.client).filter(|kept| kept.id == id).cloned();
        let session = match kept {
            Some(session) => session,
            None => {
                if !sessions.contains_key(&id.client) && sessions.len() >= max_sessions {
                    return Err(TooManySessions);
                }
                let session = Arc::new(Session::new(id, watermark, limits, now));
                if let Some(earlier) = sessions.insert(id.client, Arc::clone(&session)) {
                    earlier.stop();
                }
                session
            }
        };
        let connection = session.with(|state| {
            state.connection += 1;
            state.attached = true;
            state.last_traffic = now;
            state.table.handle_attached();
            (state.connection, state.waker.take())
        });
        if let Some(waker) = connection.1 {
            waker.wake();
        }
        Ok((session, connection.0))
    }

    /// Forgets a session and stops what runs for it.
    pub(super) fn remove(&self, identity: &Identity, id: SessionId) {
        let mut by_peer = self.lock();
        let Some(sessions) = by_peer.get_mut(identity) else { return };
        if sessions.get(&id.client).is_some_and(|session| session.id == id)
            && let Some(session) = sessions.remove(&id.client)
        {
            session.stop();
        }
        if sessions.is_empty() {
            by_peer.remove(identity);
        }
    }

    /// Gives up connections that have been silent for `idle`, and forgets the sessions that have had
    /// neither a connection nor a running call for `ttl`. Returns those that are left.
    pub(super) fn sweep(&self, now: Time, idle: Duration, ttl: Duration) -> Vec<Arc<Session>> {
        let mut by_peer = self.lock();
        let mut left = Vec::new();
        by_peer.retain(|_, sessions| {
            sessions.retain(|_, session| {
                let (keep, waker) = session.with(|state| {
                    let silence = now.since(state.last_traffic);
                    if silence >= QUIET {
                        state.table.handle_idle();
                    }
                    let waker = if state.attached && silence >= idle {
                        state.connection += 1;
                        state.attached = false;
                        state.waker.take()
                    } else {
                        None
                    };
                    let is_used = state.attached || state.table.running() > 0;
                    (is_used || silence < ttl, waker)
                });
                if let Some(waker) = waker {
                    waker.wake();
                }
                if keep {
                    left.push(Arc::clone(session));
                }
                keep
            });
            !sessions.is_empty()
        });
        left
    }

    /// All sessions.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().flat_map(BTreeMap::values).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, BTreeMap<ClientId, Arc<Session>>>> {
        self.by_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn new(id: SessionId, watermark: Seq, limits: TableLimits, now: Time) -> Session {
        let state = State {
            table: CallTable::new(limits, watermark),
            connection: 0,
            attached: false,
            waker: None,
            last_traffic: now,
            renewed: now,
        };
        Session { id, state: Mutex::new(state) }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.id.incarnation
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.lock())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`with`](Session::with), and wakes the connection if there is something new to send.
    pub(super) fn with_output<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let (done, waker) = self.with(|state| {
            let had_output = state.table.has_output();
            let done = act(state);
            let wake = !had_output && state.table.has_output();
            (done, if wake { state.waker.take() } else { None })
        });
        if let Some(waker) = waker {
            waker.wake();
        }
        done
    }

    /// Takes how a call ended, and wakes the connection to send the response. Returns an outcome
    /// that must be recorded first.
    pub(super) fn finish(
        &self,
        now: Time,
        seq: Seq,
        run: RunNumber,
        answer: Answer,
        counters: &Counters,
    ) -> Option<(RunNumber, Outcome)> {
        counters.count(&answer);
        self.with_output(|state| state.table.handle_finished(now, seq, run, answer))
    }

    /// Wakes the session's connection.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.with(|state| state.waker.take()) {
            waker.wake();
        }
    }

    /// Takes no part in the session any more; the session waits for another connection.
    pub(super) fn detach(&self, connection: u64, now: Time) {
        self.with(|state| {
            if state.connection == connection {
                state.attached = false;
                state.waker = None;
                state.last_traffic = now;
            }
        });
    }

    /// Whether the lease is to be renewed, now that there was traffic since it last was.
    pub(super) fn take_renewal(&self, now: Time, lease: Duration) -> bool {
        self.with(|state| {
            let due = now.since(state.renewed) >= lease / 3 && state.last_traffic > state.renewed;
            if due {
                state.renewed = now;
            }
            due
        })
    }

    /// Stops all that runs for the session and closes its connection.
    pub(super) fn stop(&self) {
        let (tasks, waker) = self.with(|state| {
            state.connection += 1;
            state.attached = false;
            (state.table.take_handles(), state.waker.take())
        });
        for run in tasks {
            run.task.abort();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// Whether this connection still speaks for the session. If so, it is woken for output.
    pub(super) fn register(&mut self, connection: u64, waker: &Waker) -> bool {
        if !self.is_current(connection) {
            return false;
        }
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        true
    }

    /// Whether this connection still speaks for the session.
    pub(super) fn is_current(&self, connection: u64) -> bool {
        self.connection == connection
    }

    pub(super) fn note_traffic(&mut self, now: Time) {
        self.last_traffic = now;
    }

    /// Takes the next duty; a call that nobody wants is stopped here.
    pub(super) fn next_duty(&mut self, counters: &Counters) -> Option<Duty<Run>> {
        while let Some(duty) = self.table.poll_duty() {
            match duty {
                Duty::Forget(run) => run.task.abort(),
                duty @ Duty::Abort(..) => {
                    add(&counters.aborts, 1);
                    return Some(duty);
                }
            }
        }
        None
    }
}
