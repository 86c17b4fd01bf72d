//! What happens between the moment when a call is given up, the one when its caller is told, and the
//! one when it asks again.

use std::task::Waker;
use std::time::Duration;

use super::{DEADLINE, DEPOSIT, Pair, SERVERS};
use crate::id::Seq;
use crate::protocol::client::ClientConfig;

/// The answer comes when the call was given up, but its caller has not looked yet.
#[test]
fn whoever_has_not_looked_yet_is_told_the_outcome_itself() {
    let mut pair = Pair::with_one_call_sent();
    pair.pass(DEADLINE);
    pair.pass(ClientConfig::default().settle_grace);
    while let Some(job) = pair.jobs.pop() {
        pair.end(job);
    }
    (0..4).for_each(|_| pair.reach_client(0));
    pair.settle();
    assert_eq!(pair.calls[&Seq::FIRST].effects, Some(0), "it was ended by a record");
    assert!(pair.core.is_settled());
}

/// The same, and the caller never looks.
#[test]
fn a_call_that_was_given_up_and_dropped_leaves_no_place_behind() {
    let mut pair = Pair::with_one_call_sent();
    pair.pass(DEADLINE);
    pair.pass(ClientConfig::default().settle_grace);
    pair.core.handle_dropped(Seq::FIRST);
    pair.calls.get_mut(&Seq::FIRST).unwrap().waits = false;
    while let Some(job) = pair.jobs.pop() {
        pair.end(job);
    }
    (0..4).for_each(|_| pair.reach_client(0));
    assert_eq!(pair.core.ring.len(), 0);
}

/// No timer is due for a call that waits for a server: only a server can help it.
#[test]
fn asking_again_without_a_server_in_reach_waits() {
    let mut pair = Pair::with_one_call_sent();
    pair.pass(DEADLINE);
    pair.pass(ClientConfig::default().settle_grace);
    pair.settle();
    assert_eq!(pair.calls[&Seq::FIRST].effects, None, "nobody has answered");
    (0..SERVERS).for_each(|server| pair.cut(server));
    let (id, deadline) = (pair.core.call_id(Seq::FIRST), pair.now + DEADLINE * 2);
    let arguments = [DEPOSIT.0 as u8];
    let asked = pair.core.ask_again(pair.now, id, DEPOSIT, deadline, &arguments, Waker::noop());
    assert_eq!(asked.ok(), Some(Seq::FIRST));
    // Each of these asserts that what is due was done.
    (0..4).for_each(|_| pair.pass(Duration::from_secs(1)));
}
