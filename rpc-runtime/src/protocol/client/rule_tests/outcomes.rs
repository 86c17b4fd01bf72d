//! Closing, ids, dropping, asking again.

use std::time::Duration;

use super::{ARGUMENTS, CLIENT, Client, DEADLINE, FIRST, METHOD, RESULT, SECOND, Sent, waker};
use crate::error::{NotExecuted, Unknown};
use crate::id::{CallId, ClientId, Seq};
use crate::protocol::client::{CallOutcome, ClientConfig, Event, Settled};
use crate::wire::handshake::RejectReason;
use crate::wire::response::ServerFrame;

const GRACE: Duration = Duration::from_secs(2);

impl Client {
    /// The server has been heard all the while, but says nothing of this call: its caller gives up.
    fn give_up(&mut self, seq: Seq) {
        let unknown = self.core.stats.unknown;
        self.pass(DEADLINE);
        self.hear_life();
        self.pass(GRACE);
        assert_eq!(self.take(seq).outcome, CallOutcome::unknown(Unknown::NoAnswer));
        assert_eq!(self.core.stats.unknown, unknown + 1);
        self.hear_life();
        self.sent(FIRST);
    }

    fn hear_life(&mut self) {
        self.pass(Duration::from_millis(1));
        self.say_frame(FIRST, ServerFrame::Pong);
    }

    fn ask_again(&mut self, id: CallId, arguments: &[u8]) -> Result<Seq, Settled> {
        let (now, deadline) = (self.now, self.now + DEADLINE);
        self.core.ask_again(now, id, METHOD, deadline, arguments, &waker())
    }

    fn ask_again_in_vain(&mut self, id: CallId, arguments: &[u8]) -> CallOutcome {
        self.ask_again(id, arguments).expect_err("it has ended, or never was").outcome
    }
}

#[test]
fn a_client_that_closes_with_nothing_open_says_goodbye() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.answer_latest(FIRST, seq);
    client.take(seq);
    client.sent(FIRST);
    client.events();
    client.core.handle_close();
    assert_eq!(client.sent(FIRST), [Sent::Ack(seq.next()), Sent::Bye]);
    assert!(client.events().contains(&Event::Transmit(FIRST)));
}

#[test]
fn a_client_that_closes_with_a_call_open_leaves_its_session_open() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.sent(FIRST);
    client.core.handle_close();
    assert_eq!(client.sent(FIRST), [Sent::Ack(seq)], "it was not answered, and no goodbye");
    assert_eq!(client.take(seq).outcome, CallOutcome::unknown(Unknown::ClientClosed));
}

#[test]
fn a_client_that_closes_says_of_each_call_what_is_known() {
    let mut client = Client::new();
    let sent = client.deposit();
    client.core.handle_close();
    client.check();
    assert_eq!(client.take(sent).outcome, CallOutcome::unknown(Unknown::ClientClosed));
    let mut client = Client::apart(ClientConfig::default(), 1);
    let queued = client.deposit();
    client.core.handle_close();
    client.check();
    let not_executed = CallOutcome::not_executed(NotExecuted::ClientClosed);
    assert_eq!(client.take(queued).outcome, not_executed, "it was never sent");
}

#[test]
fn a_client_that_closes_says_nothing_where_it_is_not_connected() {
    let mut client = Client::apart(ClientConfig::default(), 2);
    client.dial(FIRST);
    client.welcome(FIRST, CLIENT).unwrap();
    client.events();
    client.core.handle_close();
    assert_eq!(client.sent(SECOND), []);
    assert!(!client.events().contains(&Event::Transmit(SECOND)));
}

#[test]
fn a_call_keeps_the_id_of_the_session_that_it_was_sent_in() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.answer_latest(FIRST, seq);
    client.reject(FIRST, RejectReason::SessionClosed);
    client.dial(FIRST);
    client.welcome(FIRST, ClientId(CLIENT.0 + 1)).unwrap();
    let id = CallId { client: CLIENT, seq };
    assert_eq!(client.core.call_id(seq), id);
    assert_eq!(client.take(seq).id, id);
}

#[test]
fn a_call_that_was_never_sent_has_the_id_of_the_session_that_was_opened() {
    let mut client = Client::apart(ClientConfig::default(), 1);
    let seq = client.deposit();
    client.pass(DEADLINE);
    client.pass(DEADLINE);
    client.dial(FIRST);
    client.welcome(FIRST, CLIENT).unwrap();
    let id = CallId { client: CLIENT, seq };
    assert_eq!(client.core.call_id(seq), id);
    assert_eq!(client.take(seq).id, id);
}

#[test]
fn whoever_asked_last_is_woken() {
    let mut client = Client::new();
    let seq = client.deposit();
    let last = waker();
    assert!(client.core.poll_call(seq, &waker()).is_pending());
    assert!(client.core.poll_call(seq, &last).is_pending());
    client.answer_latest(FIRST, seq);
    let mut woken = Vec::new();
    client.core.poll_wakers(&mut woken);
    assert!(matches!(&woken[..], [one] if one.will_wake(&last)));
}

#[test]
fn the_time_that_an_answer_took_sets_the_next_time_out() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.pass(Duration::from_millis(40));
    client.answer_latest(FIRST, seq);
    let rtt = client.core.endpoint(FIRST).rtt(METHOD).expect("it was measured");
    assert_eq!(rtt.timeout(), Some(120_000), "the mean, and four times its deviation");
    client.deposit();
    client.sent(FIRST);
    client.pass(Duration::from_millis(120));
    assert_eq!(client.core.stats().timeouts, 1);
}

#[test]
fn a_call_that_is_dropped_after_its_end_leaves_its_place() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.answer_latest(FIRST, seq);
    assert_eq!(client.core.ring.len(), 1);
    client.core.handle_dropped(seq);
    assert_eq!(client.core.ring.len(), 0);
}

#[test]
fn a_dropped_call_that_was_never_sent_is_not_cancelled() {
    let mut client = Client::new();
    client.say_frame(FIRST, ServerFrame::GoAway);
    let seq = client.deposit();
    client.core.handle_dropped(seq);
    assert_eq!(client.sent(FIRST), []);
    assert!(client.core.is_settled());
}

#[test]
fn a_dropped_call_is_cancelled_where_it_was_sent() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.core.handle_dropped(seq);
    let sent = client.sent(FIRST);
    assert!(
        matches!(sent[..], [Sent::Request(_), Sent::Cancel(dropped)] if dropped == seq),
        "{sent:?}"
    );
}

#[test]
fn a_dropped_call_is_not_cancelled_where_the_connection_is_lost() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.lose(FIRST);
    client.core.handle_dropped(seq);
    assert_eq!(client.sent(FIRST), []);
}

#[test]
fn whoever_asks_again_waits_for_the_answer_to_what_was_sent() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.give_up(seq);
    assert_eq!(client.ask_again(client.core.call_id(seq), ARGUMENTS).ok(), Some(seq));
    client.pass(Duration::ZERO);
    assert_eq!(client.sent(FIRST), [], "it was asked for just now");
    client.pass(GRACE);
    assert_eq!(client.request(FIRST).seq, seq);
    client.answer_latest(FIRST, seq);
    let settled = client.take(seq);
    assert_eq!((settled.outcome, &settled.payload[..]), (CallOutcome::Success, RESULT));
}

#[test]
fn the_id_of_another_client_is_stale() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.give_up(seq);
    let id = CallId { client: ClientId(CLIENT.0 + 1), seq };
    let stale = CallOutcome::unknown(Unknown::Stale);
    assert_eq!(client.ask_again_in_vain(id, ARGUMENTS), stale);
}

#[test]
fn a_kept_outcome_is_told_to_whoever_asks_with_the_arguments_of_its_call() {
    let mut client = Client::new();
    let seq = client.deposit();
    client.give_up(seq);
    client.answer_latest(FIRST, seq);
    let id = client.core.call_id(seq);
    let reused = CallOutcome::not_executed(NotExecuted::IdReused);
    assert_eq!(client.ask_again_in_vain(id, b"others"), reused);
    let settled = client.ask_again(id, ARGUMENTS).expect_err("it has ended");
    assert_eq!((settled.outcome, &settled.payload[..]), (CallOutcome::Success, RESULT));
}

#[test]
fn the_oldest_outcome_makes_room_for_one_more_than_may_be_kept() {
    let mut client = Client::with(ClientConfig::default().max_kept_outcomes(2), 1);
    let calls = [(); 3].map(|()| {
        let seq = client.deposit();
        client.give_up(seq);
        client.answer_latest(FIRST, seq);
        client.core.call_id(seq)
    });
    let ends = calls.map(|id| client.ask_again_in_vain(id, ARGUMENTS));
    let stale = CallOutcome::unknown(Unknown::Stale);
    assert_eq!(ends, [stale, CallOutcome::Success, CallOutcome::Success]);
}
