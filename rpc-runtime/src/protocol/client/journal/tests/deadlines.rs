//! What a deadline means to a client with a journal.

use std::time::Duration;

use super::{AHEAD, CallOutcome, ClientConfig, DEADLINE, Incarnation, Life, NotExecuted};

/// The deadline sends a call at once, wherever it is: but not before its number is written down.
#[test]
fn a_deadline_makes_no_attempt_that_is_not_written_down() {
    let mut life = Life::first();
    let seq = life.pay();
    life.write();
    life.core.ring.get_mut(seq).unwrap().attempts = AHEAD;
    life.sent();
    let wait = life.core.ring.get(seq).unwrap().next_at.since(life.now);
    life.pass(wait);
    life.pong();
    let changes = life.core.poll_journal().expect("more attempts are asked for");
    let left = life.core.ring.get(seq).unwrap().deadline.since(life.now);
    life.pass(left);
    assert_eq!(life.sent(), [], "the journal is slow");
    life.apply(changes);
    life.core.handle_journalled(life.now);
    assert_eq!(life.sent(), [(1, AHEAD + 1, true)]);
    assert!(life.core.poll_journal().is_none(), "they were asked for once");
}

#[test]
fn past_its_deadline_a_call_of_an_earlier_life_is_only_settled() {
    let mut life = Life::first();
    let seq = life.pay();
    life.write();
    life.now = life.now + DEADLINE;
    let mut life = life.next();
    life.pass(Duration::ZERO);
    // Sent as it was at the welcome; whatever is sent from now on only asks.
    life.sent();
    life.pass(ClientConfig::default().initial_timeout * 5 / 4);
    assert_eq!(life.sent(), [(seq.0, AHEAD + 2, true)]);
}

#[test]
fn before_its_deadline_a_call_of_an_earlier_life_is_executed_if_it_was_not() {
    let mut life = Life::first();
    let seq = life.pay();
    life.write();
    let mut life = life.next();
    life.sent();
    life.pass(ClientConfig::default().initial_timeout * 5 / 4);
    assert_eq!(life.sent(), [(seq.0, AHEAD + 2, false)]);
}

#[test]
fn a_call_of_an_earlier_life_that_no_server_could_be_sent_is_only_settled_after_its_deadline() {
    let mut life = Life::first();
    let seq = life.pay();
    life.write();
    let mut life = Life::begin(life.rows, ClientConfig::default(), life.now);
    // Some other call's time comes first.
    life.core.note_call_at(life.now);
    life.pass(Duration::ZERO);
    life.pass(DEADLINE);
    life.core.handle_connected(life.now, super::SERVER);
    life.frames();
    life.welcome(Incarnation(2));
    assert_eq!(life.sent(), [(seq.0, AHEAD + 1, true)]);
}

#[test]
fn a_call_whose_deadline_comes_before_it_is_written_down_was_too_late() {
    let mut life = Life::first();
    let seq = life.pay();
    life.pass(DEADLINE);
    life.write();
    let too_late = CallOutcome::not_executed(NotExecuted::Deadline);
    assert_eq!(life.told(seq), Some(too_late));
    assert_eq!(life.sent(), []);
}
