//! Closing, ids, dropping, asking again.

use std::time::Duration;

use super::{ARGUMENTS, CLIENT, DEADLINE, DEPOSIT, Hand, Heard, RESULT, waker};
use crate::error::{NotExecuted, Unknown};
use crate::id::{Attempt, CallId, ClientId, Seq};
use crate::protocol::client::{CallOutcome, ClientConfig, EndpointId, Event, Settled};
use crate::wire::handshake::RejectReason;
use crate::wire::response::ServerFrame;

const FIRST: EndpointId = EndpointId(0);
const GRACE: Duration = Duration::from_secs(2);

impl Hand {
    /// The server has been heard all the while, but says nothing of this call: its caller gives up.
    fn give_up(&mut self, seq: Seq) {
        self.pass(DEADLINE);
        self.hear_life();
        self.pass(GRACE);
        assert_eq!(self.take(seq).outcome, CallOutcome::unknown(Unknown::NoAnswer));
        self.hear_life();
        self.heard(0);
    }

    fn hear_life(&mut self) {
        self.pass(Duration::from_millis(1));
        self.say_frame(0, ServerFrame::Pong);
    }

    fn ask_again(&mut self, id: CallId, arguments: &[u8]) -> Result<Seq, Settled> {
        let (now, deadline) = (self.now, self.now + DEADLINE);
        self.core.ask_again(now, id, deadline, arguments, &waker())
    }

    fn ask_again_in_vain(&mut self, id: CallId, arguments: &[u8]) -> CallOutcome {
        self.ask_again(id, arguments).expect_err("it has ended, or never was").outcome
    }
}

#[test]
fn a_client_that_closes_with_nothing_open_says_goodbye() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.answer(0, seq);
    hand.take(seq);
    hand.heard(0);
    hand.events();
    hand.core.handle_close();
    assert_eq!(hand.heard(0), [Heard::Ack(seq.next()), Heard::Bye]);
    assert!(hand.events().contains(&Event::Transmit(FIRST)));
}

#[test]
fn a_client_that_closes_with_a_call_open_leaves_its_session_open() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.heard(0);
    hand.core.handle_close();
    assert_eq!(hand.heard(0), [Heard::Ack(seq.next())], "nobody can ask for it, but no goodbye");
    assert_eq!(hand.take(seq).outcome, CallOutcome::unknown(Unknown::ClientClosed));
}

#[test]
fn a_client_that_closes_says_nothing_where_it_is_not_connected() {
    let mut hand = Hand::new(2);
    hand.connect(0);
    hand.welcome(0, CLIENT).unwrap();
    hand.events();
    hand.core.handle_close();
    assert_eq!(hand.heard(1), []);
    assert!(!hand.events().contains(&Event::Transmit(EndpointId(1))));
}

#[test]
fn a_call_keeps_the_id_of_the_session_that_it_was_sent_in() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.answer(0, seq);
    hand.reject(0, RejectReason::SessionClosed);
    hand.connect(0);
    hand.welcome(0, ClientId(CLIENT.0 + 1)).unwrap();
    let id = CallId { client: CLIENT, seq };
    assert_eq!(hand.core.call_id(seq), id);
    assert_eq!(hand.take(seq).id, id);
}

#[test]
fn a_call_that_was_never_sent_has_the_id_of_the_session_that_was_opened() {
    let mut hand = Hand::new(1);
    let seq = hand.call();
    hand.pass(DEADLINE);
    hand.pass(DEADLINE);
    hand.connect(0);
    hand.welcome(0, CLIENT).unwrap();
    let id = CallId { client: CLIENT, seq };
    assert_eq!(hand.core.call_id(seq), id);
    assert_eq!(hand.take(seq).id, id);
}

#[test]
fn whoever_asked_last_is_woken() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    let last = waker();
    assert!(hand.core.poll_call(seq, &waker()).is_pending());
    assert!(hand.core.poll_call(seq, &last).is_pending());
    hand.answer(0, seq);
    let mut woken = Vec::new();
    hand.core.poll_wakers(&mut woken);
    assert!(matches!(&woken[..], [one] if one.will_wake(&last)));
}

#[test]
fn the_time_that_an_answer_took_sets_the_next_time_out() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.pass(Duration::from_millis(40));
    hand.answer(0, seq);
    let rtt = hand.core.endpoint(FIRST).rtt(DEPOSIT).expect("it was measured");
    assert_eq!(rtt.timeout(), Some(120_000), "the mean, and four times its deviation");
    hand.call();
    hand.heard(0);
    hand.pass(Duration::from_millis(120));
    assert_eq!(hand.core.stats().timeouts, 1);
}

#[test]
fn a_dropped_call_that_was_never_sent_is_not_cancelled() {
    let mut hand = Hand::up(1);
    hand.say_frame(0, ServerFrame::GoAway);
    let seq = hand.call();
    hand.core.handle_dropped(seq);
    assert_eq!(hand.heard(0), []);
    assert!(hand.core.is_settled());
}

#[test]
fn a_dropped_call_is_cancelled_where_it_was_sent() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.core.handle_dropped(seq);
    assert_eq!(hand.heard(0), [Heard::Request(seq, Attempt::FIRST), Heard::Cancel(seq)]);
}

#[test]
fn a_dropped_call_is_not_cancelled_where_the_connection_is_lost() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.lose(0);
    hand.core.handle_dropped(seq);
    assert_eq!(hand.heard(0), []);
}

#[test]
fn whoever_asks_again_waits_for_the_answer_to_what_was_sent() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.give_up(seq);
    assert_eq!(hand.ask_again(hand.core.call_id(seq), ARGUMENTS).ok(), Some(seq));
    hand.pass(Duration::ZERO);
    assert_eq!(hand.heard(0), [], "it was asked for just now");
    hand.pass(GRACE);
    let heard = hand.heard(0);
    assert!(matches!(heard[..], [Heard::Request(again, _)] if again == seq), "{heard:?}");
    hand.answer(0, seq);
    let settled = hand.take(seq);
    assert_eq!((settled.outcome, &settled.payload[..]), (CallOutcome::Success, RESULT));
}

#[test]
fn the_id_of_another_client_is_stale() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.give_up(seq);
    let id = CallId { client: ClientId(CLIENT.0 + 1), seq };
    let stale = CallOutcome::unknown(Unknown::Stale);
    assert_eq!(hand.ask_again_in_vain(id, ARGUMENTS), stale);
}

#[test]
fn a_kept_outcome_is_told_to_whoever_asks_with_the_arguments_of_its_call() {
    let mut hand = Hand::up(1);
    let seq = hand.call();
    hand.give_up(seq);
    hand.answer(0, seq);
    let id = hand.core.call_id(seq);
    let reused = CallOutcome::not_executed(NotExecuted::IdReused);
    assert_eq!(hand.ask_again_in_vain(id, b"others"), reused);
    let settled = hand.ask_again(id, ARGUMENTS).expect_err("it has ended");
    assert_eq!((settled.outcome, &settled.payload[..]), (CallOutcome::Success, RESULT));
}

#[test]
fn the_oldest_outcome_makes_room_for_one_more_than_may_be_kept() {
    let mut hand = Hand::up_with(ClientConfig::default().max_kept_outcomes(2), 1);
    let calls = [(); 3].map(|()| {
        let seq = hand.call();
        hand.give_up(seq);
        hand.answer(0, seq);
        hand.core.call_id(seq)
    });
    let ends = calls.map(|id| hand.ask_again_in_vain(id, ARGUMENTS));
    let stale = CallOutcome::unknown(Unknown::Stale);
    assert_eq!(ends, [stale, CallOutcome::Success, CallOutcome::Success]);
}
