//! Where calls go, and with which header.

use std::time::Duration;

use super::{
    Client, FIRST, MAX_ARGUMENTS, ONE_SECOND, Request, SECOND, Sent, THIRD, TICK, is_about,
};
use crate::error::NotExecuted;
use crate::id::Seq;
use crate::protocol::client::call::CallState;
use crate::protocol::client::{CallOptions, CallOutcome, ClientConfig, Hedge};
use crate::service::Kind;

/// Calls that were all sent, and then answered but for the first.
const WITH_GAP: u64 = 300;
/// The bitmap that acknowledges them.
const BITMAP: usize = (WITH_GAP as usize - 1).div_ceil(8);

/// Calls 1 to `last`, of which all but `pending` were answered.
fn all_answered_but(pending: u64, last: u64) -> Client {
    let mut client = Client::new();
    client.make_writes(last);
    client.succeed(FIRST, (1..=last).filter(|seq| *seq != pending));
    client
}

/// Makes a call with arguments of this size, and looks at its request.
fn send(client: &mut Client, size: usize) -> Request {
    client.start(Kind::Write, CallOptions::USUAL, vec![0; size]).unwrap();
    client.request(FIRST)
}

#[test]
fn a_first_send_spends_no_retry_budget() {
    let config = ClientConfig::default().retry_percent(0).retries_per_second(0);
    let mut client = Client::apart(config, 1);
    let seq = client.call(Kind::Write);
    assert_eq!(client.look(seq).state, CallState::Queued);
    client.spend_budget();
    client.connect(FIRST);
    assert_eq!(client.request(FIRST).attempt, 1);
}

#[test]
fn a_retry_waits_for_the_budget() {
    let mut client = Client::without_budget();
    let seq = client.call(Kind::Write);
    client.sent(FIRST);
    client.pass(ONE_SECOND);
    assert_eq!(client.requests(FIRST), []);
    let call = client.look(seq);
    assert_eq!(call.state, CallState::Backoff);
    assert_eq!(call.next_at, client.now + client.core.budget.wait());
}

#[test]
fn arguments_may_be_as_large_as_the_server_takes_and_no_larger() {
    let mut client = Client::new();
    assert_eq!(send(&mut client, MAX_ARGUMENTS).attempt, 1);
    let size = MAX_ARGUMENTS + 1;
    let seq = client.start(Kind::Write, CallOptions::USUAL, vec![0; size]).unwrap();
    let too_large = NotExecuted::TooLarge { size, limit: MAX_ARGUMENTS };
    assert_eq!(client.told(seq), Some(CallOutcome::not_executed(too_large)));
}

#[test]
fn a_bitmap_travels_once() {
    let mut client = all_answered_but(1, WITH_GAP);
    let ack = send(&mut client, 0).ack;
    assert_eq!(ack, Some((Seq::FIRST, WITH_GAP as usize - 1)));
    assert_eq!(send(&mut client, 0).ack, None, "nothing new");
}

#[test]
fn a_bitmap_travels_where_the_arguments_leave_room() {
    let mut client = all_answered_but(1, WITH_GAP);
    let request = send(&mut client, MAX_ARGUMENTS - BITMAP);
    assert_eq!(request.ack, None, "just too little");

    let mut client = all_answered_but(1, WITH_GAP);
    let request = send(&mut client, MAX_ARGUMENTS - BITMAP - 1);
    assert_eq!(request.ack, Some((Seq::FIRST, WITH_GAP as usize - 1)));
}

#[test]
fn few_calls_above_the_watermark_travel_with_no_bitmap() {
    let mut client = all_answered_but(WITH_GAP, WITH_GAP + 9);
    assert!(client.core.endpoint(FIRST).unacked > 300);
    assert_eq!(send(&mut client, 0).ack, Some((Seq(WITH_GAP), 0)));
}

#[test]
fn a_request_acknowledges_what_is_new_and_a_retry_everything() {
    let mut client = Client::new();
    assert_eq!(send(&mut client, 0).ack, Some((Seq::FIRST, 0)));
    assert_eq!(send(&mut client, 0).ack, None);
    client.pass(ONE_SECOND);
    let retries = client.requests(FIRST);
    assert_eq!(retries.len(), 2);
    assert!(retries.iter().all(|retry| retry.ack == Some((Seq::FIRST, 0))), "{retries:?}");
}

#[test]
fn a_retry_tells_its_age_and_what_is_left_of_its_deadline() {
    let mut client = Client::new();
    let first = send(&mut client, 0);
    assert_eq!((first.attempt, first.age, first.deadline), (1, Duration::ZERO, None));
    client.pass(ONE_SECOND);
    let second = client.request(FIRST);
    let left = ClientConfig::default().deadline - ONE_SECOND;
    assert_eq!((second.attempt, second.age, second.deadline), (2, ONE_SECOND, Some(left)));
}

#[test]
fn the_first_answer_is_waited_for_as_long_as_configured_and_the_next_twice_as_long() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    let initial = ClientConfig::default().initial_timeout;
    assert_eq!(client.look(seq).next_at, client.now + initial);
    client.pass(initial);
    assert!(is_about(client.look(seq).next_at, client.now, initial * 2));
}

#[test]
fn a_hedge_goes_to_another_server_when_its_time_has_come() {
    let mut client = Client::with(ClientConfig::default(), 2);
    let after = Duration::from_millis(200);
    let hedged = CallOptions { hedge: Hedge::After(after), ..CallOptions::USUAL };
    let seq = client.start(Kind::Write, hedged, Vec::new()).unwrap();
    assert_eq!(client.look(seq).rare().hedge_at, client.now + after);
    let (here, there) = match client.look(seq).endpoint {
        FIRST => (FIRST, SECOND),
        _ => (SECOND, FIRST),
    };
    assert_eq!(client.request(here).attempt, 1);
    client.pass(after - TICK);
    assert_eq!(client.sent(there), []);
    client.pass(TICK);
    assert_eq!(client.request(there).attempt, 2);
    assert_eq!(client.core.stats.hedges, 1);
}

#[test]
fn a_failover_is_a_retry_at_another_server() {
    let mut client = Client::apart(ClientConfig::default(), 2);
    client.connect(SECOND);
    client.call(Kind::Write);
    let counted = |client: &Client| (client.core.stats.retries, client.core.stats.failovers);
    assert_eq!(counted(&client), (0, 0), "the first send");
    client.pass(ONE_SECOND);
    assert_eq!(counted(&client), (1, 0), "to the same server");
    client.connect(FIRST);
    client.core.handle_disconnected(client.now, SECOND, "cut".to_owned());
    assert_eq!(counted(&client), (2, 1));
    assert!(matches!(client.sent(FIRST)[..], [Sent::Request(Request { attempt: 3, .. })]));
}

#[test]
fn servers_that_are_equally_busy_take_turns() {
    let mut client = Client::with(ClientConfig::default(), 3);
    let order: Vec<_> = (0..7)
        .map(|_| {
            let seq = client.deposit();
            let server = client.look(seq).endpoint;
            client.answer_latest(server, seq);
            server
        })
        .collect();
    assert_eq!(order, [FIRST, SECOND, THIRD, FIRST, SECOND, THIRD, FIRST]);
}

#[test]
fn a_call_that_was_sent_as_often_as_it_may_be_is_next_sent_to_be_settled() {
    let mut client = Client::new();
    let once = CallOptions { max_attempts: 1, ..CallOptions::USUAL };
    let seq = client.start(Kind::Write, once, Vec::new()).unwrap();
    client.sent(FIRST);
    client.time_out_at_a_live_server(seq);
    assert_eq!(client.requests(FIRST), []);
    let (state, next_at, deadline) = {
        let call = client.look(seq);
        (call.state, call.next_at, call.deadline)
    };
    assert_eq!((state, next_at), (CallState::Backoff, deadline));
    client.now = deadline;
    client.pong(FIRST);
    client.pass(Duration::ZERO);
    let request = client.request(FIRST);
    assert_eq!((request.attempt, request.settle), (2, true));
}
