//! How long a session is used, and what its end means.

use std::time::Duration;

use super::{CLIENT, Client, FIRST, SECOND, Sent, response};
use crate::id::{ClientId, Seq};
use crate::protocol::client::{CallOptions, ClientConfig, Event, StartError};
use crate::service::Kind;
use crate::wire::handshake::RejectReason;
use crate::wire::response::Status;

/// The most writes of a session here.
const WRITES: u64 = 4;

impl Client {
    /// A client of one server whose sessions are short.
    fn of_few_writes() -> Client {
        Client::with(ClientConfig::default().max_session_writes(WRITES), 1)
    }

    /// Makes a call, which succeeds, and takes its result.
    fn finish(&mut self, kind: Kind) {
        let seq = self.call(kind);
        self.sent(FIRST);
        self.answer(FIRST, response(seq, 1, Status::Success));
        self.take(seq);
    }
}

#[test]
fn sessions_and_connections_are_counted() {
    let counted = |client: &Client| (client.core.stats.sessions, client.core.stats.connections);
    let mut client = Client::with(ClientConfig::default(), 2);
    assert_eq!(counted(&client), (1, 2));
    client.reject(FIRST, RejectReason::SessionClosed);
    client.connect(SECOND);
    assert_eq!(counted(&client), (2, 3));
}

#[test]
fn the_end_of_a_session_ends_the_connections_that_have_greeted_in_it() {
    let mut client = Client::apart(ClientConfig::default(), 3);
    client.connect(FIRST);
    client.connect(SECOND);
    client.events();
    client.reject(FIRST, RejectReason::SessionClosed);
    let closed = [Event::Close(FIRST), Event::Close(SECOND)];
    assert_eq!(client.events(), closed, "the third is still being connected to");
    client.pass(Duration::ZERO);
    assert_eq!(client.events(), [Event::Connect(SECOND)], "in the next session, and at once");
}

#[test]
fn a_session_is_left_once_half_of_its_writes_are_made_and_nothing_is_pending() {
    let mut client = Client::of_few_writes();
    for _ in 0..WRITES / 2 {
        client.finish(Kind::Write);
    }
    let third = client.deposit();
    assert_eq!(client.sent(FIRST), [Sent::Ack(third), Sent::Bye]);
    client.lose(FIRST);
    client.pass(Duration::ZERO);
    client.dial(FIRST);
    assert_eq!(client.sent(FIRST), [Sent::Hello(None)]);
    client.welcome(FIRST, ClientId(CLIENT.0 + 1)).unwrap();
    assert_eq!(client.request(FIRST).seq, third, "numbers go on");
    client.answer(FIRST, response(third, 1, Status::Success));
    client.take(third);
    client.deposit();
    assert!(!client.sent(FIRST).contains(&Sent::Bye), "one was made in it so far");
}

#[test]
fn reads_use_no_session_up() {
    let mut client = Client::of_few_writes();
    for _ in 0..=WRITES {
        client.finish(Kind::Read);
    }
    client.finish(Kind::Write);
    client.deposit();
    assert!(!client.sent(FIRST).contains(&Sent::Bye));
}

#[test]
fn a_session_is_not_left_while_a_call_is_pending_and_takes_no_more_than_all_its_writes() {
    let mut client = Client::of_few_writes();
    let oldest = client.deposit();
    for _ in 1..WRITES {
        client.finish(Kind::Write);
    }
    let start = |client: &mut Client| client.start(Kind::Write, CallOptions::USUAL, vec![7]);
    assert_eq!(start(&mut client), Err(StartError::WindowFull(vec![7])));
    assert_eq!(client.sent(FIRST), [], "it is not left");
    client.answer(FIRST, response(oldest, 1, Status::Success));
    assert_eq!(start(&mut client), Ok(Seq(WRITES + 1)));
    assert_eq!(client.sent(FIRST), [Sent::Ack(Seq(WRITES + 1)), Sent::Bye]);
}
