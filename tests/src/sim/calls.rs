//! The calls of a world: when each was made, when and how it ended.

use std::collections::BTreeMap;
use std::task::Waker;

use rpc::id::CallId;

use super::plan::{CallPlan, ClientPlan, ComesBack, Plan};
use crate::history::{Call, Ended};

/// All calls of a world, by number.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) all: Vec<Made>,
    /// The calls that each client has made, by life and number.
    lives: Vec<Vec<BTreeMap<u64, u8>>>,
    /// The clients that remember their calls.
    remembering: Vec<bool>,
    /// Counts what callers do: unlike the clock, it tells before from after within a millisecond.
    moment: u64,
}

/// One call of a world.
#[derive(Clone, Debug)]
pub struct Made {
    /// Who made it.
    pub client: u8,
    /// What was planned.
    pub plan: CallPlan,
    /// When it was made, as a count of all that callers do.
    pub invoked: Option<u64>,
    /// When its outcome was known, in the same count.
    pub returned: Option<u64>,
    /// How it ended.
    pub ended: Option<Ended>,
    /// Its id, once it was told.
    pub id: Option<CallId>,
    pub(super) invoked_ms: u64,
    in_flight: bool,
    is_to_drop: bool,
    waker: Option<Waker>,
}

impl Calls {
    pub(super) fn new(plan: &Plan) -> Calls {
        let all = (0u8..).zip(&plan.clients).flat_map(|(client, its)| {
            its.calls.iter().map(move |plan| Made {
                client,
                plan: *plan,
                invoked: None,
                returned: None,
                ended: None,
                id: None,
                invoked_ms: 0,
                in_flight: false,
                is_to_drop: false,
                waker: None,
            })
        });
        let lives = vec![vec![BTreeMap::new()]; plan.clients.len()];
        let remembers = |client: &ClientPlan| client.comes_back == ComesBack::Remembering;
        let remembering = plan.clients.iter().map(remembers).collect();
        Calls { all: all.collect(), lives, remembering, moment: 0 }
    }

    /// The calls of a client that were not made yet, or are open from an earlier life.
    pub(super) fn to_make(&self, client: u8) -> Vec<u8> {
        let calls = (0u8..).zip(&self.all);
        let its = calls.filter(|(_, call)| call.client == client && call.ended.is_none());
        its.map(|(number, _)| number).collect()
    }

    /// The calls whose end a client was told and remembers, in a life that is not its first.
    pub(super) fn told_in_earlier_lives(&self, client: u8, life: u32) -> Vec<(u8, Ended)> {
        if life == 0 || !self.remembers(client) {
            return Vec::new();
        }
        let its = (0u8..).zip(&self.all).filter(|(_, call)| {
            let is_kept = matches!(call.ended, Some(Ended::Done { .. } | Ended::No(_)));
            call.client == client && call.plan.ask.is_write() && is_kept
        });
        its.filter_map(|(number, call)| Some((number, call.ended.clone()?))).collect()
    }

    /// Whether a client remembers its calls.
    pub(super) fn remembers(&self, client: u8) -> bool {
        self.remembering[usize::from(client)]
    }

    /// A client begins a new life, whose calls are numbered anew.
    pub(super) fn begin_life(&mut self, client: u8) {
        self.lives[usize::from(client)].push(BTreeMap::new());
    }

    /// The call that has this number in a client's life.
    pub(super) fn of_seq(&self, client: u8, life: u32, seq: u64) -> Option<u8> {
        let life = self.lives[usize::from(client)].get(life as usize)?;
        life.get(&seq).copied()
    }

    /// A call of a client that remembers has this number.
    pub(super) fn learn(&mut self, client: u8, life: u32, seq: u64, number: u8) {
        if let Some(life) = self.lives[usize::from(client)].get_mut(life as usize) {
            life.insert(seq, number);
        }
    }

    /// A call is made, or gone on with in the next life of its client. Says whether it is that.
    pub(super) fn invoke(&mut self, number: u8, now: u64) -> bool {
        self.moment += 1;
        let call = &mut self.all[usize::from(number)];
        call.in_flight = true;
        if call.invoked.is_some() {
            return true;
        }
        call.invoked = Some(self.moment);
        call.invoked_ms = now;
        if !self.remembering[usize::from(call.client)] {
            let lives = &mut self.lives[usize::from(call.client)];
            let life = lives.last_mut().expect("a client has a life");
            life.insert(life.len() as u64 + 1, number);
        }
        false
    }

    /// A call has ended. An outcome that is not known keeps the call open for ever.
    pub(super) fn end(&mut self, number: u8, ended: Ended) {
        self.moment += 1;
        let call = &mut self.all[usize::from(number)];
        call.in_flight = false;
        if !matches!(ended, Ended::Lost(_) | Ended::Dropped | Ended::Crashed) {
            call.returned = Some(self.moment);
        }
        call.ended = Some(ended);
    }

    /// The open calls of a client have nobody any more who waits for them, until its next life if it
    /// remembers them. Reads are not remembered.
    pub(super) fn crash(&mut self, client: u8) {
        let remembers = self.remembers(client);
        for call in self.all.iter_mut().filter(|call| call.client == client && call.in_flight) {
            call.in_flight = false;
            call.waker = None;
            if !(remembers && call.plan.ask.is_write()) {
                call.ended = Some(Ended::Crashed);
            }
        }
    }

    /// Lets a caller drop its call: this one if it is in flight, else any of this client.
    pub(super) fn order_drop(
        &mut self,
        client: u8,
        call: Option<u8>,
    ) -> Option<(u8, Option<Waker>)> {
        let is_open = |call: &Made| call.client == client && call.in_flight && !call.is_to_drop;
        let this = call.filter(|number| is_open(&self.all[usize::from(*number)]));
        let any = || self.all.iter().position(is_open).and_then(|number| u8::try_from(number).ok());
        let number = this.or_else(any)?;
        let call = &mut self.all[usize::from(number)];
        call.is_to_drop = true;
        Some((number, call.waker.take()))
    }

    /// The calls as a history has them.
    pub(super) fn history(&self) -> Vec<Call> {
        let call = |(number, made): (u8, &Made)| Call {
            reference: reference(number),
            ask: made.plan.ask,
            begin: made.invoked.unwrap_or(u64::MAX),
            end: made.returned,
            ended: made.ended.clone().unwrap_or_else(|| Ended::NotExecuted("not made".to_owned())),
        };
        (0u8..).zip(&self.all).map(call).collect()
    }

    /// Whether the caller of a call is to drop it; else it is woken when it is.
    pub(super) fn is_to_drop(&mut self, number: u8, waker: &Waker) -> bool {
        let call = &mut self.all[usize::from(number)];
        if !call.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            call.waker = Some(waker.clone());
        }
        call.is_to_drop
    }
}

/// What a call is called in statements.
pub(super) fn reference(number: u8) -> String {
    format!("r{number:03}")
}

/// The call that is called so.
pub(super) fn number_of(reference: &str) -> Option<u8> {
    reference.strip_prefix('r')?.parse().ok()
}
