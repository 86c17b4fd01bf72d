//! Connecting, greeting, and what the loss of a connection means for calls.

use std::time::Duration;

use super::{CLIENT, Hand, Heard, TICK, is_about};
use crate::id::{Attempt, ClientId, Seq};
use crate::protocol::client::endpoint::Link;
use crate::protocol::client::{ClientConfig, EndpointId, Event};
use crate::time::Time;
use crate::wire::handshake::RejectReason;
use crate::wire::response::ServerFrame;

const FIRST: EndpointId = EndpointId(0);

#[test]
fn one_server_opens_the_session_and_the_next_only_when_it_is_lost() {
    let mut hand = Hand::new(3);
    (0..3).for_each(|server| hand.connect(server));
    assert_eq!(hand.heard(0), [Heard::Hello(None)]);
    hand.lose(1);
    assert_eq!(hand.heard(2), [], "the first is still at it");
    hand.lose(0);
    assert_eq!(hand.heard(2), [Heard::Hello(None)]);
}

#[test]
fn a_welcome_to_another_session_is_an_error() {
    let mut hand = Hand::new(2);
    (0..2).for_each(|server| hand.connect(server));
    hand.welcome(0, CLIENT).unwrap();
    assert_eq!(hand.heard(1), [Heard::Hello(Some(CLIENT))]);
    assert!(hand.welcome(1, ClientId(CLIENT.0 + 1)).is_err());
}

#[test]
fn each_failure_doubles_the_pause_before_the_next_connect() {
    let mut hand = Hand::new(1);
    for millis in [20, 40, 80, 160] {
        hand.lose(0);
        let pause = hand.until_next();
        assert!(is_about(pause, Duration::from_millis(millis)), "{pause:?}, not {millis} ms");
        hand.pass(pause - TICK);
        assert_eq!(hand.events(), [], "not yet");
        assert_eq!(hand.until_next(), TICK);
        hand.pass(TICK);
        assert_eq!(hand.events(), [Event::Connect(FIRST)]);
    }
}

#[test]
fn a_connection_that_is_not_made_in_time_is_given_up() {
    let limit = ClientConfig::default().connect_timeout;
    let mut hand = Hand::new(1);
    assert_eq!(hand.until_next(), limit);
    hand.pass(limit - TICK);
    assert_eq!(hand.events(), []);
    hand.pass(TICK);
    assert_eq!(hand.events(), [Event::Close(FIRST)]);
}

#[test]
fn a_hello_that_is_not_answered_in_time_is_given_up() {
    let limit = ClientConfig::default().connect_timeout;
    let mut hand = Hand::new(1);
    hand.pass(limit - TICK);
    hand.connect(0);
    hand.pass(limit - TICK);
    assert_eq!(hand.events(), [Event::Transmit(FIRST)]);
    hand.pass(TICK);
    assert_eq!(hand.events(), [Event::Close(FIRST)]);
}

#[test]
fn a_closed_client_does_not_connect_again() {
    let mut hand = Hand::new(1);
    hand.core.handle_close();
    hand.lose(0);
    for _ in 0..2 {
        hand.pass(Duration::from_secs(60));
        assert_eq!(hand.events(), []);
        assert_eq!(hand.core.poll_timeout(), Time::NEVER);
    }
}

#[test]
fn a_server_that_refuses_for_good_is_asked_again_only_rarely() {
    let config = ClientConfig::default();
    for (reason, expected) in [
        (RejectReason::Overloaded, config.min_backoff),
        (RejectReason::MethodMismatch, config.max_backoff),
    ] {
        let mut hand = Hand::new(1);
        hand.connect(0);
        hand.reject(0, reason);
        let pause = hand.until_next();
        assert!(is_about(pause, expected), "{reason:?}: {pause:?}");
    }
}

#[test]
fn one_server_that_has_no_room_does_not_end_the_session() {
    let mut hand = Hand::new(2);
    (0..2).for_each(|server| hand.connect(server));
    hand.welcome(0, CLIENT).unwrap();
    let seq = hand.call();
    hand.reject(1, RejectReason::Overloaded);
    assert!(hand.is_pending(seq));
    hand.connect(1);
    assert_eq!(hand.heard(1), [Heard::Hello(Some(CLIENT))]);
}

#[test]
fn the_calls_of_a_lost_server_and_no_others_go_to_another() {
    let mut hand = Hand::up(2);
    let calls = [hand.call(), hand.call()];
    let at = calls.map(|seq| hand.core.ring.get(seq).unwrap().endpoint.0);
    assert_eq!(
        {
            let mut at = at;
            at.sort();
            at
        },
        [0, 1],
        "one at each"
    );
    (0..2).for_each(|server| assert_eq!(hand.heard(server).len(), 1));
    hand.lose(at[0]);
    assert_eq!(hand.heard(at[1]), [Heard::Request(calls[0], Attempt(2))]);
}

#[test]
fn a_new_connection_knows_nothing_of_the_one_before() {
    let mut hand = Hand::up(1);
    hand.say_frame(0, ServerFrame::GoAway);
    // A frame that was cut in the middle.
    hand.say(0, &[100, 1]).unwrap();
    let seq = hand.call();
    assert_eq!(hand.heard(0), [], "it has asked to be left alone");
    hand.lose(0);
    hand.connect(0);
    assert_eq!(hand.heard(0), [Heard::Hello(Some(CLIENT))]);
    hand.welcome(0, CLIENT).unwrap();
    assert_eq!(hand.core.endpoint(FIRST).link, Link::Up);
    assert_eq!(hand.heard(0), [Heard::Request(seq, Attempt::FIRST)]);
    assert_eq!(hand.core.endpoint(FIRST).acked, Some(Seq::FIRST));
}

#[test]
fn the_troubles_of_each_server_are_named() {
    let mut hand = Hand::new(3);
    hand.connect(0);
    hand.reject(0, RejectReason::WrongService);
    hand.lose(1);
    let troubles = "server 0: not this one; server 1: cut; server 2: no answer";
    assert_eq!(hand.core.troubles(), troubles);
}

#[test]
fn pauses_differ_by_up_to_a_quarter() {
    let mut hand = Hand::new(1);
    let second = Duration::from_secs(1);
    let pauses: Vec<Duration> = (0..1_000).map(|_| hand.core.jittered(second)).collect();
    assert!(pauses.iter().all(|pause| is_about(*pause, second)));
    assert!(*pauses.iter().min().unwrap() < Duration::from_millis(760));
    assert!(*pauses.iter().max().unwrap() > Duration::from_millis(1_240));
}

#[test]
fn there_is_no_news_when_all_was_told() {
    let mut hand = Hand::up(1);
    assert!(!hand.core.has_news());
    hand.call();
    assert!(hand.core.has_news());
}
