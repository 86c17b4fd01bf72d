//! A model of calls between a client and its servers: attempts, tables, acknowledgements with their
//! bitmaps, hedges, cancelled and dropped calls.
//!
//! The store is atomic here: that it is, is what the model beside this one shows. Messages are in
//! flight for as long as they like, and overtake each other.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | configurations, and the model |
//! | `world.rs` | the world: calls, tables, messages, the store |
//! | `client.rs` | what the client does, as in `rpc-runtime/src/protocol/client` |
//! | `server.rs` | what a server does, as in `rpc-runtime/src/protocol/server` |

mod client;
mod server;
mod world;

use stateright::{Model, Property};

use self::world::{ATTEMPTS, CALLS, SERVERS, Step};
pub use self::world::{Faults, World};
use super::plan::Bug;
use super::progress::{Explored, WHO_ENDS_HAS_FINISHED};

/// A world of calls to exhaust.
#[derive(Clone, Copy, Debug)]
pub struct CallsConfig {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) reduced: bool,
    pub(super) calls: usize,
    /// By call: whether its business returns an error until there are funds.
    pub(super) needs_funds: [bool; CALLS],
    pub(super) attempts: u8,
    pub(super) faults: Faults,
    pub(super) bug: Option<Bug>,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallsAction {
    /// The client sends the next attempt of a call to a server.
    Send(u8, u8),
    /// Its caller drops or cancels a call.
    Drop(u8),
    /// The cancellation of a call reaches the server that it went to.
    Cancel(u8),
    /// An acknowledgement, sent alone, reaches a server.
    Ack(u8),
    /// A request reaches its server.
    Request(u8, u8),
    /// A request reaches its server, which refuses it.
    Refuse(u8, u8),
    /// A request or its response gets lost.
    Lose(u8, u8),
    /// A response reaches the client.
    Response(u8, u8),
    /// A server does the next step of a call's run.
    Run(u8, u8),
    /// The run's commit is done or not, and the store does not say.
    RunUnknown(u8, u8, bool),
    /// The commit of a run that was stopped gets to the store; whether the server hears of it.
    Stray(u8, u8, bool),
    /// A call's deadline passes on a server.
    Deadline(u8, u8),
    /// A server forgets a response that was not acknowledged.
    Forget(u8, u8),
    /// A server crashes.
    Crash(u8),
    /// Somebody else's deposit.
    Deposit,
}

const NONE: Faults = Faults::NONE;

/// All configurations.
pub(super) const CONFIGS: &[CallsConfig] = &[
    CallsConfig {
        name: "calls-hedged",
        about: "two calls, hedged and retried on two servers: lost and late messages, acks with bitmaps",
        reduced: true,
        calls: 2,
        needs_funds: [true, false],
        attempts: 2,
        faults: Faults { lost: 1, early: 2, ..NONE },
        bug: None,
    },
    CallsConfig {
        name: "calls-cancelled",
        about: "two calls, dropped by their callers or stopped at their deadlines at any step",
        reduced: true,
        calls: 2,
        needs_funds: [true, false],
        attempts: 2,
        faults: Faults { drops: 1, deadlines: 1, early: 1, ..NONE },
        bug: None,
    },
    CallsConfig {
        name: "calls-forgotten",
        about: "servers that crash, forget responses, refuse requests, and do not know how commits ended",
        reduced: true,
        calls: 2,
        needs_funds: [true, false],
        attempts: 2,
        faults: Faults { crashes: 1, forgets: 1, refusals: 1, unknown: 1, early: 1, ..NONE },
        bug: None,
    },
    CallsConfig {
        name: "calls-late-answers",
        about: "three attempts of one call on two servers, whose answers come late",
        reduced: true,
        calls: 1,
        needs_funds: [true, false],
        attempts: 3,
        faults: Faults { early: 2, ..NONE },
        bug: None,
    },
    CallsConfig {
        name: "calls-every-fault",
        about: "three attempts of one call on two servers, under every kind of fault",
        reduced: true,
        calls: 1,
        needs_funds: [true, false],
        attempts: 3,
        faults: Faults {
            lost: 1,
            early: 2,
            drops: 1,
            deadlines: 1,
            crashes: 1,
            forgets: 1,
            refusals: 1,
            unknown: 1,
        },
        bug: None,
    },
    CallsConfig {
        name: "calls-three-attempts",
        about: "three attempts of each of two calls on two servers, one of them dropped by its caller",
        reduced: false,
        calls: 2,
        needs_funds: [true, false],
        attempts: 3,
        faults: Faults { early: 2, drops: 1, ..NONE },
        bug: None,
    },
];

impl CallsConfig {
    pub(super) fn has_bug(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

impl Model for CallsConfig {
    type State = World;
    type Action = CallsAction;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.faults)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<CallsAction>) {
        use CallsAction::{Crash, Deposit};
        for call in 0..self.calls as u8 {
            world.client_actions(self, call, actions);
            for server in 0..SERVERS as u8 {
                world.server_actions(self, server, call, actions);
            }
        }
        for server in 0..SERVERS as u8 {
            if world.has_news(server) {
                actions.push(CallsAction::Ack(server));
            }
            if world.left.crashes > 0 && world.may_crash(self, server) {
                actions.push(Crash(server));
            }
        }
        if !world.store.funds {
            actions.push(Deposit);
        }
    }

    fn next_state(&self, last: &World, action: CallsAction) -> Option<World> {
        let mut world = *last;
        match action {
            CallsAction::Send(call, server) => world.send(self, call, server),
            CallsAction::Drop(call) => world.drop_call(call),
            CallsAction::Cancel(call) => world.cancel(call),
            CallsAction::Ack(server) => {
                let ack = world.ack(self);
                world.handle_ack(server, ack);
            }
            CallsAction::Request(call, attempt) => world.handle_request(self, call, attempt),
            CallsAction::Refuse(call, attempt) => world.refuse(call, attempt),
            CallsAction::Lose(call, attempt) => world.lose(call, attempt),
            CallsAction::Response(call, attempt) => world.handle_response(self, call, attempt),
            CallsAction::Run(server, call) => world.run(self, server, call),
            CallsAction::RunUnknown(server, call, done) => {
                world.run_unknown(self, server, call, done)
            }
            CallsAction::Stray(server, call, heard) => world.stray(self, server, call, heard),
            CallsAction::Deadline(server, call) => {
                world.left.deadlines -= 1;
                world.abort(server, call);
            }
            CallsAction::Forget(server, call) => world.forget(server, call),
            CallsAction::Crash(server) => world.crash(server),
            CallsAction::Deposit => world.store.funds = true,
        }
        world.wipe();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<CallsConfig>> {
        vec![
            Property::always("each call is applied at most once", |_, world: &World| {
                world.store.applied.iter().all(|times| *times <= 1)
            }),
            Property::always("what a client is told is so", |_, world: &World| {
                world.told_the_truth()
            }),
            Property::always(WHO_ENDS_HAS_FINISHED, |model: &CallsConfig, world| {
                let mut actions = Vec::new();
                model.actions(world, &mut actions);
                !actions.is_empty() || model.is_finished(world)
            }),
        ]
    }
}

impl Explored for CallsConfig {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_fault(&self, world: &World, action: &CallsAction) -> bool {
        match action {
            CallsAction::Send(call, _) => world.is_early(*call),
            CallsAction::Drop(_)
            | CallsAction::Refuse(..)
            | CallsAction::Lose(..)
            | CallsAction::RunUnknown(..)
            | CallsAction::Deadline(..)
            | CallsAction::Forget(..)
            | CallsAction::Crash(_)
            | CallsAction::Deposit => true,
            _ => false,
        }
    }

    fn is_finished(&self, world: &World) -> bool {
        world.calls.iter().take(self.calls).all(|call| call.told.is_some())
    }

    fn faults_left(&self, world: &World) -> u64 {
        let Faults { lost, early, drops, deadlines, crashes, forgets, refusals, unknown } =
            world.left;
        let budget = [lost, early, drops, deadlines, crashes, forgets, refusals, unknown];
        // The one deposit is taken from no budget, but there is only one.
        u64::from_le_bytes(budget) << 1 | u64::from(!world.store.funds)
    }

    fn is_broken(&self, _: &World) -> bool {
        false
    }

    fn kind(&self, action: &CallsAction) -> &'static str {
        match action {
            CallsAction::Send(..) => "send",
            CallsAction::Drop(_) => "drop",
            CallsAction::Cancel(_) => "handle_cancel",
            CallsAction::Ack(_) => "handle_ack",
            CallsAction::Request(..) => "handle_request",
            CallsAction::Refuse(..) => "refuse",
            CallsAction::Lose(..) => "lose",
            CallsAction::Response(..) => "handle_response",
            CallsAction::Run(..) => "run",
            CallsAction::RunUnknown(..) => "run: unknown",
            CallsAction::Stray(..) => "a stopped run's commit",
            CallsAction::Deadline(..) => "handle_timeout",
            CallsAction::Forget(..) => "forget_oldest",
            CallsAction::Crash(_) => "crash",
            CallsAction::Deposit => "deposit",
        }
    }

    fn describe(&self, action: &CallsAction) -> String {
        let at = |server: &u8| format!("server {}", server + 1);
        match action {
            CallsAction::Send(call, server) => format!("send: call {} to {}", call + 1, at(server)),
            CallsAction::Request(call, attempt)
            | CallsAction::Refuse(call, attempt)
            | CallsAction::Lose(call, attempt)
            | CallsAction::Response(call, attempt) => {
                format!("{}: call {}, attempt {attempt}", self.kind(action), call + 1)
            }
            CallsAction::Run(server, call)
            | CallsAction::Deadline(server, call)
            | CallsAction::Forget(server, call) => {
                format!("{}, call {}: {}", at(server), call + 1, self.kind(action))
            }
            CallsAction::RunUnknown(server, call, done) => {
                let done = if *done { "done" } else { "not done" };
                format!("{}, call {}: commit {done}, answer unknown", at(server), call + 1)
            }
            CallsAction::Stray(server, call, heard) => {
                let heard = if *heard { "heard" } else { "not heard" };
                format!("{}, call {}: {}, {heard}", at(server), call + 1, self.kind(action))
            }
            CallsAction::Drop(call) | CallsAction::Cancel(call) => {
                format!("{}: call {}", self.kind(action), call + 1)
            }
            CallsAction::Ack(server) | CallsAction::Crash(server) => {
                format!("{}: {}", self.kind(action), at(server))
            }
            CallsAction::Deposit => "a deposit".to_owned(),
        }
    }

    fn summary(&self, world: &World) -> String {
        let mut text = String::new();
        for (number, call) in (1..).zip(&world.calls) {
            let (applied, told) = (world.store.applied[number - 1], call.told);
            text += &format!("    call {number}: applied {applied}, told {told:?}\n");
        }
        text
    }
}

const _: () = assert!(ATTEMPTS < 8, "attempts are members of a set");
const _: () = assert!(std::mem::size_of::<Step>() <= 4, "worlds are small");
