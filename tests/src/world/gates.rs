//! Places in the business where a test can make a call wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Where in the business a call can be made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Before it reads anything.
    Start,
    /// Between its two reads.
    Between,
    /// When it has only to return: what follows is the commit.
    End,
}

/// All gates of a world, and what has come by.
#[derive(Debug, Default)]
pub struct Gates {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: HashMap<(String, String, Point), Gate>,
    runs: Vec<(String, String)>,
}

/// A gate that is closed until the test opens it.
#[derive(Clone, Debug)]
pub struct Gate {
    state: watch::Sender<GateState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct GateState {
    reached: u32,
    open: bool,
}

impl Gates {
    /// Makes the calls of a reference wait at a point on a server.
    pub fn close(&self, server: &str, reference: &str, point: Point) -> Gate {
        let gate = Gate { state: watch::Sender::new(GateState::default()) };
        let place = (server.to_owned(), reference.to_owned(), point);
        self.lock().closed.insert(place, gate.clone());
        gate
    }

    /// On which servers the business has begun to run a reference, in order.
    pub fn runs(&self, reference: &str) -> Vec<String> {
        let state = self.lock();
        let runs = state.runs.iter().filter(|(_, of)| of == reference);
        runs.map(|(server, _)| server.clone()).collect()
    }

    /// The business comes by.
    pub(super) async fn pass(&self, server: &str, reference: &str, point: Point) {
        let gate = {
            let mut state = self.lock();
            if point == Point::Start {
                state.runs.push((server.to_owned(), reference.to_owned()));
            }
            state.closed.get(&(server.to_owned(), reference.to_owned(), point)).cloned()
        };
        if let Some(gate) = gate {
            gate.state.send_modify(|state| state.reached += 1);
            let mut state = gate.state.subscribe();
            let _open = state.wait_for(|state| state.open).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Waits until a call stands before the gate.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    /// Waits until the business has come here this often.
    pub async fn reached_by(&self, runs: u32) {
        let mut state = self.state.subscribe();
        let _reached = state.wait_for(|state| state.reached >= runs).await;
    }

    /// Lets pass who waits and who comes later.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }
}
