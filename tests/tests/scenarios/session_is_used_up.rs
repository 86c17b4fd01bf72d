//! A client moves to a new session before the old one has had more writes than it may have, and
//! loses nothing over it: no call, no result, no answer to a question asked later.

use std::time::Duration;

use rpc::error::{CallError, NotExecuted, Unknown};
use rpc::testing::FrameView;
use rpc_tests::world::{Fate, Point, World, holds, stats};

const LIMIT: u64 = 8;

fn small() -> rpc::ClientConfig {
    World::client_config().max_session_writes(LIMIT)
}

fn references(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// How often a client has said that its session is over.
fn farewells(world: &World) -> usize {
    world.network.trace().count(|frame| matches!(frame.view, FrameView::Bye))
}

async fn one_after_the_other(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client_with("client", &["A", "B"], small()).await;
    for reference in references(0..40) {
        ledger.deposit("alice".into(), 1, reference).await.unwrap();
    }
    assert_eq!(world.book("alice").await.references, references(0..40));
    // Nothing is pending between two calls: it moves when the half is used.
    assert_eq!(stats(&ledger).sessions, 40 / (LIMIT / 2));
    assert_eq!(farewells(&world), 2 * 9, "both servers hear of each session that is over");
    assert_eq!(stats(&ledger).retries, 0, "no call was caught in a move");
}

/// To move waits for the network alone: no timer is waited for, each of which is up to a millisecond late.
async fn a_move_waits_for_no_timer(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client_with("client", &["A"], small()).await;
    let mut took = Duration::ZERO;
    for reference in references(0..40) {
        // Timers fire at whole milliseconds.
        tokio::time::advance(Duration::from_micros(300)).await;
        let begun = tokio::time::Instant::now();
        ledger.deposit("alice".into(), 1, reference).await.unwrap();
        took += begun.elapsed();
    }
    assert_eq!(stats(&ledger).sessions, 40 / (LIMIT / 2));
    assert_eq!(took, Duration::ZERO, "the network takes no time here");
}

/// A call that takes long keeps its session; the others wait once it is used up.
async fn while_a_call_is_pending(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client_with("client", &["A"], small()).await;
    let gate = world.gates.close("A", "slow", Point::Start);
    let slow = tokio::spawn(ledger.deposit("bob".into(), 1, "slow".into()));
    gate.reached().await;
    for reference in references(0..LIMIT - 1) {
        ledger.deposit("alice".into(), 1, reference).await.unwrap();
    }
    let mut waiting: Vec<_> = references(LIMIT - 1..3 * LIMIT)
        .into_iter()
        .map(|reference| tokio::spawn(ledger.deposit("alice".into(), 1, reference)))
        .collect();
    let read = tokio::spawn(ledger.balance("alice".into(), "read".into()));
    world.pause(3_000).await;
    assert_eq!(world.book("alice").await.references, references(0..LIMIT - 1));
    assert_eq!((stats(&ledger).sessions, farewells(&world)), (1, 0));
    assert!(!read.is_finished(), "what is read would keep the session from its end");

    gate.open();
    slow.await.unwrap().unwrap();
    for call in waiting.drain(..) {
        call.await.unwrap().unwrap();
    }
    assert!(read.await.unwrap().unwrap() >= LIMIT - 1);
    let mut effects = world.book("alice").await.references;
    effects.sort_by_key(|reference| reference.parse::<u64>().unwrap());
    assert_eq!(effects, references(0..3 * LIMIT));
    assert!(stats(&ledger).sessions >= 3);
}

/// Who waits for a new session still has its deadline.
async fn deadlines_hold_while_calls_wait(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client_with("client", &["A"], small()).await;
    let gate = world.gates.close("A", "slow", Point::Start);
    let slow = tokio::spawn(ledger.deposit("bob".into(), 1, "slow".into()));
    gate.reached().await;
    for reference in references(0..LIMIT - 1) {
        ledger.deposit("alice".into(), 1, reference).await.unwrap();
    }
    let late = ledger.deposit("alice".into(), 1, "late".into());
    let late = late.deadline(Duration::from_millis(500)).await;
    assert!(matches!(late, Err(CallError::NotExecuted(NotExecuted::Deadline))), "{late:?}");
    gate.open();
    slow.await.unwrap().unwrap();
    world.assert_effects("bob", &["slow"]).await;
}

/// A call of unknown outcome keeps its session until it is settled, and can be asked for after it.
async fn an_unknown_call_is_settled_first(mut world: World) {
    world.start(&["A"]);
    let ledger = world.client_with("client", &["A"], small()).await;
    world.network.script(|frame| if frame.is_response(1) { Fate::Lose } else { Fate::Deliver });
    let lost = || {
        let call = ledger.deposit("alice".into(), 1, "lost".into());
        call.deadline(Duration::from_millis(500))
    };
    let told = lost().await;
    let Err(CallError::OutcomeUnknown(id, Unknown::NoAnswer)) = told else { panic!("{told:?}") };
    for reference in references(0..LIMIT - 1) {
        ledger.deposit("bob".into(), 1, reference).await.unwrap();
    }
    assert_eq!(stats(&ledger).sessions, 1, "the lost call may still be asked for there");

    world.network.deliver_all();
    for reference in references(LIMIT - 1..3 * LIMIT) {
        ledger.deposit("bob".into(), 1, reference).await.unwrap();
    }
    assert!(stats(&ledger).sessions >= 3);
    assert_eq!(lost().ask_again(id).await.unwrap(), 1, "its outcome was kept over the move");
    world.assert_effects("alice", &["lost"]).await;
    assert_eq!(world.book("bob").await.references, references(0..3 * LIMIT));
}

/// A server that hears nothing of the move is told by the next connection.
async fn a_frozen_server_comes_along_later(mut world: World) {
    world.start(&["A", "B"]);
    let ledger = world.client_with("client", &["A", "B"], small()).await;
    world.network.freeze("B");
    for reference in references(0..3 * LIMIT) {
        ledger.deposit("alice".into(), 1, reference).await.unwrap();
    }
    world.network.thaw("B");
    world.pause(10_000).await;
    world.crash("A").await;
    for reference in references(3 * LIMIT..4 * LIMIT) {
        ledger.deposit("alice".into(), 1, reference).await.unwrap();
    }
    assert_eq!(world.book("alice").await.references, references(0..4 * LIMIT));
}

#[cfg_attr(test, test)]
pub(crate) fn session_is_used_up() {
    holds(one_after_the_other);
}

#[cfg_attr(test, test)]
pub(crate) fn a_session_is_left_without_a_timer() {
    holds(a_move_waits_for_no_timer);
}

#[cfg_attr(test, test)]
pub(crate) fn calls_wait_while_one_is_pending() {
    holds(while_a_call_is_pending);
}

#[cfg_attr(test, test)]
pub(crate) fn waiting_calls_have_their_deadlines() {
    holds(deadlines_hold_while_calls_wait);
}

#[cfg_attr(test, test)]
pub(crate) fn a_call_of_unknown_outcome_keeps_the_session() {
    holds(an_unknown_call_is_settled_first);
}

#[cfg_attr(test, test)]
pub(crate) fn a_server_that_was_frozen_joins_the_new_session() {
    holds(a_frozen_server_comes_along_later);
}
