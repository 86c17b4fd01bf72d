//! Connecting, greeting, and what the loss of a connection means for calls.

use std::time::Duration;

use super::{CLIENT, Client, FIRST, SECOND, Sent, THIRD, TICK, is_about};
use crate::id::{ClientId, Seq};
use crate::protocol::client::endpoint::Link;
use crate::protocol::client::{ClientConfig, Event};
use crate::time::Time;
use crate::wire::handshake::RejectReason;
use crate::wire::response::ServerFrame;

#[test]
fn one_server_opens_the_session_and_the_next_only_when_it_is_lost() {
    let mut client = Client::apart(ClientConfig::default(), 3);
    client.dial_all(&[FIRST, SECOND, THIRD]);
    assert_eq!(client.sent(FIRST), [Sent::Hello(None)]);
    client.lose(SECOND);
    assert_eq!(client.sent(THIRD), [], "the first is still at it");
    client.lose(FIRST);
    assert_eq!(client.sent(THIRD), [Sent::Hello(None)]);
}

#[test]
fn a_welcome_to_another_session_is_an_error() {
    let mut client = Client::apart(ClientConfig::default(), 2);
    client.dial_all(&[FIRST, SECOND]);
    client.welcome(FIRST, CLIENT).unwrap();
    assert_eq!(client.sent(SECOND), [Sent::Hello(Some(CLIENT))]);
    assert!(client.welcome(SECOND, ClientId(CLIENT.0 + 1)).is_err());
}

#[test]
fn each_failure_doubles_the_pause_before_the_next_connect() {
    let mut client = Client::apart(ClientConfig::default(), 1);
    for millis in [20, 40, 80, 160] {
        client.lose(FIRST);
        let pause = until_next(&client);
        let expected = Duration::from_millis(millis);
        assert!(is_about(client.now + pause, client.now, expected), "{pause:?}, not {millis} ms");
        client.pass(pause - TICK);
        assert_eq!(client.events(), [], "not yet");
        assert_eq!(until_next(&client), TICK);
        client.pass(TICK);
        assert_eq!(client.events(), [Event::Connect(FIRST)]);
    }
}

#[test]
fn a_connection_that_is_not_made_in_time_is_given_up() {
    let limit = ClientConfig::default().connect_timeout;
    let mut client = Client::apart(ClientConfig::default(), 1);
    assert_eq!(until_next(&client), limit);
    client.pass(limit - TICK);
    assert_eq!(client.events(), []);
    client.pass(TICK);
    assert_eq!(client.events(), [Event::Close(FIRST)]);
}

#[test]
fn a_hello_that_is_not_answered_in_time_is_given_up() {
    let limit = ClientConfig::default().connect_timeout;
    let mut client = Client::apart(ClientConfig::default(), 1);
    client.pass(limit - TICK);
    client.dial(FIRST);
    client.pass(limit - TICK);
    assert_eq!(client.events(), [Event::Transmit(FIRST)]);
    client.pass(TICK);
    assert_eq!(client.events(), [Event::Close(FIRST)]);
}

#[test]
fn a_closed_client_does_not_connect_again() {
    let mut client = Client::apart(ClientConfig::default(), 1);
    client.core.handle_close();
    client.lose(FIRST);
    for _ in 0..2 {
        client.pass(Duration::from_secs(60));
        assert_eq!(client.events(), []);
        assert_eq!(client.core.poll_timeout(), Time::NEVER);
    }
}

#[test]
fn a_server_that_refuses_for_good_is_asked_again_only_rarely() {
    let config = ClientConfig::default();
    for (reason, expected) in [
        (RejectReason::Overloaded, config.min_backoff),
        (RejectReason::MethodMismatch, config.max_backoff),
    ] {
        let mut client = Client::apart(ClientConfig::default(), 1);
        client.dial(FIRST);
        client.reject(FIRST, reason);
        let at = client.core.poll_timeout();
        assert!(is_about(at, client.now, expected), "{reason:?}: {:?}", until_next(&client));
    }
}

#[test]
fn one_server_that_has_no_room_does_not_end_the_session() {
    let mut client = Client::apart(ClientConfig::default(), 2);
    client.dial_all(&[FIRST, SECOND]);
    client.welcome(FIRST, CLIENT).unwrap();
    let seq = client.deposit();
    client.reject(SECOND, RejectReason::Overloaded);
    assert!(client.look(seq).is_pending());
    client.dial(SECOND);
    assert_eq!(client.sent(SECOND), [Sent::Hello(Some(CLIENT))]);
}

#[test]
fn the_calls_of_a_lost_server_and_no_others_go_to_another() {
    let mut client = Client::with(ClientConfig::default(), 2);
    let calls = [client.deposit(), client.deposit()];
    let at = calls.map(|seq| client.core.ring.get(seq).unwrap().endpoint);
    assert_ne!(at[0], at[1], "one at each");
    for server in at {
        assert_eq!(client.sent(server).len(), 1);
    }
    client.lose(at[0]);
    let again = client.request(at[1]);
    assert_eq!((again.seq, again.attempt), (calls[0], 2));
}

#[test]
fn a_new_connection_knows_nothing_of_the_one_before() {
    let mut client = Client::new();
    client.say_frame(FIRST, ServerFrame::GoAway);
    // A frame that was cut in the middle.
    client.say(FIRST, &[100, 1]).unwrap();
    let seq = client.deposit();
    assert_eq!(client.sent(FIRST), [], "it has asked to be left alone");
    client.lose(FIRST);
    client.dial(FIRST);
    assert_eq!(client.sent(FIRST), [Sent::Hello(Some(CLIENT))]);
    client.welcome(FIRST, CLIENT).unwrap();
    assert_eq!(client.core.endpoint(FIRST).link, Link::Up);
    let request = client.request(FIRST);
    assert_eq!((request.seq, request.attempt), (seq, 1));
    assert_eq!(client.core.endpoint(FIRST).acked, Some(Seq::FIRST));
}

#[test]
fn the_troubles_of_each_server_are_named() {
    let mut client = Client::apart(ClientConfig::default(), 3);
    client.dial(FIRST);
    client.reject(FIRST, RejectReason::WrongService);
    client.lose(SECOND);
    let troubles = "server 0: not this one; server 1: cut; server 2: no answer";
    assert_eq!(client.core.troubles(), troubles);
}

#[test]
fn a_client_is_refused_once_every_server_has_refused_it_for_good() {
    let mut client = Client::apart(ClientConfig::default(), 2);
    let mut refuse = |server, reason| {
        client.dial(server);
        client.reject(server, reason);
        let (address, reject) = client.core.rejection()?;
        Some((address.to_owned(), reject.reason))
    };
    assert_eq!(refuse(FIRST, RejectReason::WrongService), None, "the other may take it");
    assert_eq!(refuse(SECOND, RejectReason::Overloaded), None, "as soon as it has room");
    let refused = Some(("server 0".to_owned(), RejectReason::WrongService));
    assert_eq!(refuse(SECOND, RejectReason::MethodMismatch), refused, "what the first has said");
}

#[test]
fn servers_go_by_their_addresses() {
    let client = Client::apart(ClientConfig::default(), 2);
    assert_eq!([FIRST, SECOND].map(|id| client.core.address(id)), ["server 0", "server 1"]);
}

#[test]
fn pauses_differ_by_up_to_a_quarter() {
    let mut client = Client::apart(ClientConfig::default(), 1);
    let second = Duration::from_secs(1);
    let pauses: Vec<Duration> = (0..1_000).map(|_| client.core.jittered(second)).collect();
    assert!(pauses.iter().all(|pause| is_about(Time::ZERO + *pause, Time::ZERO, second)));
    assert!(*pauses.iter().min().unwrap() < Duration::from_millis(760));
    assert!(*pauses.iter().max().unwrap() > Duration::from_millis(1_240));
}

#[test]
fn there_is_no_news_when_all_was_told() {
    let mut client = Client::new();
    assert!(!client.core.has_news());
    client.deposit();
    assert!(client.core.has_news());
}

#[test]
fn what_there_is_to_send_is_taken_once() {
    let mut client = Client::new();
    client.deposit();
    let mut bytes = Vec::new();
    assert!(client.core.poll_transmit(FIRST, &mut bytes));
    assert!(!std::mem::take(&mut bytes).is_empty());
    assert!(!client.core.poll_transmit(FIRST, &mut bytes));
    assert!(bytes.is_empty());
}

/// How long until the client's next timer.
fn until_next(client: &Client) -> Duration {
    client.core.poll_timeout().since(client.now)
}
