//! A model of calls between a client and its servers: attempts, tables, acknowledgements with their
//! bitmaps, hedges, cancelled and dropped calls; and a client that crashes and has a journal.
//!
//! The store is atomic here: that it is, is what the model beside this one shows. Messages are in
//! flight for as long as they like, and overtake each other.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | the model and its properties |
//! | `configs.rs` | the configurations |
//! | `action.rs` | what can happen |
//! | `world.rs` | the world: calls, tables, messages, the store |
//! | `client.rs` | what the client does, as in `rpc-runtime/src/protocol/client` |
//! | `journal.rs` | what a client with a journal writes down before what, and its next life |
//! | `journal_tests.rs` | that what is looked for there could be missed |
//! | `server.rs` | what a server does, as in `rpc-runtime/src/protocol/server` |

mod action;
mod client;
mod configs;
mod journal;
#[cfg(test)]
mod journal_tests;
mod server;
mod world;

use stateright::{Model, Property};

pub use self::action::CallsAction;
use self::action::named;
pub(super) use self::configs::CONFIGS;
use self::world::{CALLS, NAMES, PLACES, PLACES_OF_A_LIFE, SERVERS, Step};
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
    pub(super) needs_funds: [bool; NAMES],
    /// Such a call takes the funds when it is applied.
    pub(super) spends: bool,
    /// In each life of the client.
    pub(super) attempts: u8,
    /// The client has a journal.
    pub(super) journal: bool,
    pub(super) faults: Faults,
    /// Whether what comes too late is forgotten at once.
    pub(super) merges: bool,
    pub(super) bug: Option<Bug>,
}

impl CallsConfig {
    pub(super) fn has_bug(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

impl Model for CallsConfig {
    type State = World;
    type Action = CallsAction;

    fn init_states(&self) -> Vec<World> {
        let lives = 1 + self.faults.client_crashes;
        let places = if lives == 1 { self.attempts } else { lives * PLACES_OF_A_LIFE };
        assert!(usize::from(places) <= PLACES, "{}: too many attempts", self.name);
        assert!(lives == 1 || self.attempts <= PLACES_OF_A_LIFE, "{}: the same", self.name);
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<CallsAction>) {
        use CallsAction::{Crash, Deposit};
        let numbers = if self.journal { CALLS } else { self.calls };
        for call in 0..numbers as u8 {
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
        world.journal_actions(self, actions);
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
            CallsAction::Request(letter) => world.handle_request(self, letter.call, letter.place),
            CallsAction::Refuse(letter) => world.refuse(letter.call, letter.place),
            CallsAction::Lose(letter) => world.lose(letter.call, letter.place),
            CallsAction::Response(letter) => {
                world.handle_response(self, letter.call, letter.place);
            }
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
            CallsAction::Make(name, call) => world.start_journalled(name, call),
            CallsAction::AskAttempt(call) => world.must_journal_attempt(call),
            CallsAction::Write => world.poll_journal(),
            CallsAction::Written => world.handle_journalled(),
            CallsAction::ClientCrash(written) => world.client_crash(self, written),
            CallsAction::ForgetName(call) => world.forget_named(call),
        }
        world.wipe(self);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<CallsConfig>> {
        let mut all = vec![
            Property::always("each call is applied at most once", |_, world: &World| {
                world.store.applied.iter().all(|times| *times <= 1)
            }),
            Property::always("what a client is told is so", |_, world: &World| {
                world.told_the_truth()
            }),
            Property::always("every life is told the same of a call", |_, world: &World| {
                world.all_lives_are_told_the_same()
            }),
            Property::always(WHO_ENDS_HAS_FINISHED, |model: &CallsConfig, world| {
                let mut actions = Vec::new();
                model.actions(world, &mut actions);
                !actions.is_empty() || model.is_finished(world)
            }),
        ];
        // What a seeded bug leaves out is to be found by the harm that it does.
        if self.journal && self.bug.is_none() {
            let promises = PROMISES.iter();
            all.extend(promises.map(|(name, holds)| Property::always(name, *holds)));
        }
        all
    }
}

/// What the journal's order of writing promises: its name, and whether it is kept.
type Promise = (&'static str, fn(&CallsConfig, &World) -> bool);

const PROMISES: [Promise; 4] = [
    ("what is acknowledged is in the journal with its outcome", |_, world| {
        world.acknowledges_what_is_journalled()
    }),
    ("what is sent is in the journal", |_, world| world.sends_what_is_journalled()),
    ("no number is used for two calls", |_, world| world.numbers_are_used_once()),
    ("attempts are above those of earlier lives", |_, world| {
        world.attempts_are_above_earlier_lives()
    }),
];

impl Explored for CallsConfig {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_fault(&self, world: &World, action: &CallsAction) -> bool {
        match action {
            CallsAction::Send(call, _) => world.journal.is_none() && world.is_early(*call),
            CallsAction::AskAttempt(call) => world.is_early(*call),
            CallsAction::Drop(_)
            | CallsAction::Refuse(..)
            | CallsAction::Lose(..)
            | CallsAction::RunUnknown(..)
            | CallsAction::Deadline(..)
            | CallsAction::Forget(..)
            | CallsAction::Crash(_)
            | CallsAction::Deposit
            | CallsAction::ClientCrash(_)
            | CallsAction::ForgetName(_) => true,
            _ => false,
        }
    }

    fn is_finished(&self, world: &World) -> bool {
        world.all_answered(self)
    }

    fn faults_left(&self, world: &World) -> u64 {
        let Faults { lost, early, drops, deadlines, crashes, .. } = world.left;
        let Faults { forgets, refusals, unknown, client_crashes, forgotten_names, .. } = world.left;
        let servers = [lost, early, drops, deadlines, crashes, forgets, refusals, unknown];
        let budget = servers.into_iter().chain([client_crashes, forgotten_names]);
        // The one deposit is taken from no budget, but there is only one.
        budget.fold(u64::from(!world.store.funds), |sum, left| sum << 6 | u64::from(left))
    }

    fn is_broken(&self, _: &World) -> bool {
        false
    }

    fn kind(&self, action: &CallsAction) -> &'static str {
        action.kind()
    }

    fn describe(&self, action: &CallsAction) -> String {
        action.describe()
    }

    fn summary(&self, world: &World) -> String {
        let mut text = String::new();
        let numbers = world.journal.as_ref().map_or(self.calls, |journal| journal.next_number());
        for (number, call) in (1..).zip(world.calls.iter().take(numbers)) {
            let (applied, told) = (world.store.applied[usize::from(call.name)], call.told);
            let name = match &world.journal {
                Some(_) => format!(", named {}", named(call.name)),
                None => String::new(),
            };
            text += &format!("    call {number}{name}: applied {applied}, told {told:?}\n");
        }
        if let Some(journal) = &world.journal {
            for (name, heard) in (0..).zip(journal.heard) {
                let applied = world.store.applied[usize::from(name)];
                text += &format!("    {}: applied {applied}, first told {heard:?}\n", named(name));
            }
            text += &format!("    journal: {:?}\n", journal.durable.calls);
        }
        text
    }
}

const _: () = assert!(PLACES < 8, "attempts are members of a set");
const _: () = assert!(std::mem::size_of::<Step>() <= 4, "worlds are small");
