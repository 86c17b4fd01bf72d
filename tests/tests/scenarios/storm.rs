//! Everything at once, from a seed: frames lost, late, twice and cut, servers that crash and freeze.
//! Each acknowledged call took effect once, each that was not never did, and each unknown one is
//! settled by asking again.

use std::time::Duration;

use rpc::error::CallError;
use rpc::testing::{Direction, Rule};
use rpc::{ClientConfig, Hedge};
use rpc_tests::world::{Fate, Frame, LedgerClient, World, fails_without, holds};

const SERVERS: [&str; 3] = ["A", "B", "C"];
const CALLS: u64 = 120;
/// What the bank earns with every fourth call: about what the others pay out.
const INCOME: u64 = 6;
/// How often a call is asked for again; in a storm, once need not be enough.
const MOST_QUESTIONS: u32 = 10;

/// A small generator, so that a seed is a scenario.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Done,
    No,
}

async fn scenario(world: World, seed: u64) {
    let config = World::client_config();
    weather(world, seed, config).await;
}

async fn weather(mut world: World, seed: u64, config: ClientConfig) {
    world.start(&SERVERS);
    let config = config.deadline(Duration::from_secs(6)).seed(Some(seed));
    let ledger = world.client_with("client", &SERVERS, config).await;
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut frames = Dice(dice.roll(u64::MAX) | 1);
    world.network.script(move |frame| fate(&mut frames, frame));
    let mut calls = Vec::new();
    for call in 0..CALLS {
        calls.push(tokio::spawn(make(ledger.clone(), call)));
        world.pause(dice.roll(40)).await;
        let server = SERVERS[dice.roll(3) as usize];
        match dice.roll(40) {
            0 => {
                world.crash(server).await;
                world.start(&[server]);
            }
            1 => {
                world.network.freeze(server);
                world.pause(dice.roll(3_000)).await;
                world.network.thaw(server);
            }
            2 => world.network.cut("client", server),
            _ => {}
        }
    }
    world.pause(5_000).await;
    world.network.deliver_all();
    let mut told = Vec::new();
    for call in calls {
        told.push(call.await.unwrap());
    }
    world.pause(30_000).await;
    check(&world, &told).await;
}

fn fate(dice: &mut Dice, frame: &Frame) -> Fate {
    match dice.roll(60) {
        0..4 => Fate::Lose,
        4..8 => Fate::Delay(Duration::from_millis(dice.roll(3_000))),
        8 if frame.direction == Direction::ToClient => Fate::Twice,
        9 => Fate::CutInside,
        10 => Fate::CutBefore,
        11 => Fate::CutAfter,
        _ => Fate::Deliver,
    }
}

/// Makes one call, and asks again until it is settled: an income of the bank, or a payment, for
/// which there may be too little.
async fn make(ledger: LedgerClient, call: u64) -> Told {
    let hedge =
        if call.is_multiple_of(3) { Hedge::After(Duration::from_millis(30)) } else { Hedge::Never };
    let reference = call.to_string();
    if call.is_multiple_of(4) {
        let income = || ledger.deposit("bank".into(), INCOME, reference.clone()).hedge(hedge);
        let mut ended = income().await;
        let mut asked = 0;
        while let Err(CallError::OutcomeUnknown(id, _)) = ended
            && asked < MOST_QUESTIONS
        {
            ended = income().ask_again(id).await;
            asked += 1;
        }
        return told(ended);
    }
    let target = format!("account {}", call % 5);
    let payment = || {
        let (from, to) = ("bank".into(), target.as_str().into());
        ledger.transfer(from, to, 1 + call % 3, reference.clone()).hedge(hedge)
    };
    let mut ended = payment().await;
    let mut asked = 0;
    while let Err(CallError::OutcomeUnknown(id, _)) = ended
        && asked < MOST_QUESTIONS
    {
        ended = payment().ask_again(id).await;
        asked += 1;
    }
    told(ended)
}

fn told<E: std::fmt::Debug>(ended: Result<u64, CallError<E>>) -> Told {
    match ended {
        Ok(_) => Told::Done,
        Err(CallError::Business(_) | CallError::NotExecuted(_)) => Told::No,
        Err(other) => panic!("{other:?}"),
    }
}

async fn check(world: &World, told: &[Told]) {
    let mut moved = 0;
    let mut targets = Vec::new();
    for account in 0..5 {
        let book = world.book(&format!("account {account}")).await;
        moved += book.balance;
        targets.extend(book.references);
    }
    let bank = world.book("bank").await;
    let mut earned = 0;
    for (call, told) in told.iter().enumerate() {
        let reference = call.to_string();
        let effects =
            |references: &[String]| references.iter().filter(|of| **of == reference).count();
        let expected = usize::from(*told == Told::Done);
        assert_eq!(effects(&bank.references), expected, "call {call}, told {told:?}");
        if call.is_multiple_of(4) {
            earned += INCOME * expected as u64;
        } else {
            assert_eq!(effects(&targets), expected, "call {call}, told {told:?}");
        }
    }
    assert_eq!(bank.balance + moved, earned, "no money is made or destroyed");
    let done = told.iter().filter(|told| **told == Told::Done).count();
    assert!(done > told.len() / 4, "most calls end well in any storm: {done}");
}

#[cfg_attr(test, test)]
pub(crate) fn storm() {
    for seed in 1..=8 {
        holds(async |world| scenario(world, seed).await);
    }
}

/// Again, with a client that moves from session to session all the time.
#[cfg_attr(test, test)]
pub(crate) fn storm_over_many_sessions() {
    for seed in 1..=8 {
        let config = World::client_config().max_session_writes(7);
        holds(async |world| weather(world, seed, config).await);
    }
}

#[test]
fn it_takes_these_rules() {
    for rule in [Rule::CheckIdAtCommit, Rule::StaleAfterAck] {
        let noticed =
            (1..=60).any(|seed| fails_without(rule, async |world| scenario(world, seed).await));
        assert!(noticed, "no storm notices that {rule:?} is broken");
    }
}
