//! What time brings.

use std::time::Duration;

use super::{Client, FIRST, ONE_SECOND, Sent, response};
use crate::error::NotExecuted;
use crate::protocol::client::{CallOutcome, ClientConfig};
use crate::service::Kind;
use crate::wire::response::Status;

#[test]
fn a_quiet_connection_is_pinged_and_suspect_only_when_the_ping_finds_no_answer() {
    let mut client = Client::new();
    client.sent(FIRST);
    let keepalive = ClientConfig::default().keepalive;
    client.pass(keepalive);
    assert_eq!(client.sent(FIRST), [Sent::Ping]);
    assert!(client.core.endpoint(FIRST).suspicion.is_none());
    client.pass(keepalive);
    assert!(client.core.endpoint(FIRST).suspicion.is_some());
}

#[test]
fn a_read_that_ends_at_its_deadline_is_cancelled_where_it_was_sent() {
    let mut client = Client::new();
    let seq = client.call(Kind::Read);
    // It runs, so that nothing else is sent meanwhile.
    client.now = client.look(seq).deadline - Duration::from_millis(1);
    client.answer(FIRST, response(seq, 1, Status::InProgress));
    client.sent(FIRST);
    client.pass(Duration::from_millis(1));
    assert_eq!(client.told(seq), Some(CallOutcome::not_executed(NotExecuted::Deadline)));
    assert!(client.sent(FIRST).contains(&Sent::Cancel(seq)));
}

#[test]
fn a_call_that_was_never_sent_is_cancelled_nowhere() {
    let mut client = Client::new();
    client.core.endpoint_mut(FIRST).draining = true;
    let seq = client.call(Kind::Write);
    client.sent(FIRST);
    client.pass(ClientConfig::default().deadline);
    assert!(client.told(seq).is_some());
    assert!(!client.sent(FIRST).contains(&Sent::Cancel(seq)));
}

#[test]
fn a_call_that_was_never_sent_is_told_what_stood_in_its_way() {
    let mut client = Client::apart(ClientConfig::default(), 1);
    let seq = client.call(Kind::Write);
    client.core.handle_disconnected(client.now, FIRST, "nobody listens".to_owned());
    client.now = client.look(seq).deadline;
    client.core.handle_timeout(client.now);
    let why = NotExecuted::NotConnected("server-0: nobody listens".to_owned());
    assert_eq!(client.told(seq), Some(CallOutcome::not_executed(why)));
}

#[test]
fn a_write_is_asked_to_be_settled_once_at_its_deadline() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.now = client.look(seq).deadline - Duration::from_millis(1);
    client.answer(FIRST, response(seq, 1, Status::InProgress));
    client.sent(FIRST);
    client.pass(Duration::from_millis(1));
    assert!(client.request(FIRST).settle);
    client.core.note_call_at(client.now);
    client.pass(Duration::ZERO);
    assert_eq!(client.requests(FIRST), [], "it is under way");
    client.pass(ONE_SECOND * 3);
    assert!(client.told(seq).is_some());
}
