//! How calls begin.

use std::task::Waker;
use std::time::Duration;

use super::{Client, FIRST, MAX_ARGUMENTS, METHOD, ONE_SECOND, TICK, response, waker};
use crate::error::NotExecuted;
use crate::id::{MethodId, Seq};
use crate::protocol::client::{CallOptions, ClientConfig, Event, StartError};
use crate::service::Kind;
use crate::wire::response::Status;

const DEADLINE: Duration = Duration::from_secs(30);

/// Gives the arguments back if they were left where they are.
fn start_untimed(client: &mut Client, method: MethodId, size: usize) -> Result<Seq, Vec<u8>> {
    start_untimed_until(client, method, size, DEADLINE)
}

fn start_untimed_until(
    client: &mut Client,
    method: MethodId,
    size: usize,
    deadline: Duration,
) -> Result<Seq, Vec<u8>> {
    let (kind, left, mut arguments) = (Kind::Write, crate::time::micros(deadline), vec![0; size]);
    let started = client.core.start_untimed(method, kind, left, &mut arguments, Waker::noop());
    started.ok_or(arguments)
}

#[test]
fn a_usual_call_is_sent_before_the_time_is_told() {
    let mut client = Client::new();
    assert!(!client.core.has_untimed());
    assert_eq!(start_untimed(&mut client, METHOD, 4), Ok(Seq::FIRST));
    assert_eq!(client.request(FIRST).seq, Seq::FIRST);
    assert_eq!(client.core.stats.calls, 1);
    assert!(client.core.has_untimed());
    client.core.handle_time(client.now);
    assert!(!client.core.has_untimed());
}

#[test]
fn calls_in_flight_are_those_that_have_not_ended() {
    let mut client = Client::new();
    assert_eq!(client.core.in_flight(), 0);
    for seq in 1..=4 {
        assert_eq!(client.deposit(), Seq(seq));
        assert_eq!(client.core.in_flight(), seq);
    }
    for (ended, left) in [(2, 3), (4, 2), (1, 1), (3, 0)] {
        client.succeed(FIRST, [ended]);
        assert_eq!(client.core.in_flight(), left, "{ended} has ended");
    }
}

#[test]
fn the_time_of_each_call_begins_with_what_was_measured_of_its_method() {
    const QUICK: MethodId = MethodId(1);
    const NEVER_MEASURED: MethodId = MethodId(2);
    let mut client = Client::new();
    client.core.endpoint_mut(FIRST).add_rtt(QUICK, 100_000);
    let calls = [QUICK, QUICK, NEVER_MEASURED, QUICK]
        .map(|method| start_untimed(&mut client, method, 0).unwrap());
    client.core.handle_time(client.now);
    let waits = calls.map(|seq| client.look(seq).next_at.since(client.now).as_millis());
    assert_eq!(waits, [300, 300, 1_000, 300]);
    assert!(calls.iter().all(|seq| client.look(*seq).deadline == client.now + DEADLINE));
}

#[test]
fn a_closed_client_takes_no_calls() {
    let mut client = Client::new();
    client.core.handle_close();
    assert_eq!(start_untimed(&mut client, METHOD, 1), Err(vec![0]));
    let refused = client.start(Kind::Write, CallOptions::USUAL, vec![0]);
    assert_eq!(refused, Err(StartError::Refused(NotExecuted::ClientClosed)));
}

#[test]
fn a_usual_call_is_as_large_as_the_server_takes_and_no_larger() {
    let mut client = Client::new();
    assert_eq!(start_untimed(&mut client, METHOD, MAX_ARGUMENTS), Ok(Seq::FIRST));
    let size = MAX_ARGUMENTS + 1;
    assert_eq!(start_untimed(&mut client, METHOD, size), Err(vec![0; size]));
}

#[test]
fn arguments_beyond_the_own_limit_are_refused_at_once() {
    let own_limit = |max_frame: usize, size: usize| {
        let mut client = Client::apart(ClientConfig::default().max_frame_bytes(max_frame), 1);
        client.start(Kind::Write, CallOptions::USUAL, vec![0; size])
    };
    let too_large = |size, limit| Err(StartError::Refused(NotExecuted::TooLarge { size, limit }));
    let header = super::super::send::MAX_REQUEST_HEADER;
    assert_eq!(header, 74, "the longest form of each part");
    assert_eq!(own_limit(header + 100, 100), Ok(Seq::FIRST));
    assert_eq!(own_limit(header + 100, 101), too_large(101, 100));
    assert_eq!(own_limit(header - 1, 1), too_large(1, 0), "no room for any");
}

#[test]
fn a_call_that_should_carry_a_bitmap_is_none_of_the_usual_ones() {
    let mut client = Client::new();
    client.make_writes(300);
    client.succeed(FIRST, 2..=256);
    assert!(start_untimed(&mut client, METHOD, 0).is_ok());
    client.core.handle_time(client.now);
    client.succeed(FIRST, [257]);
    assert!(start_untimed(&mut client, METHOD, 0).is_err());
}

#[test]
fn a_call_in_a_used_session_is_usual_while_another_is_pending() {
    let mut client = Client::with(ClientConfig::default().max_session_writes(6), 1);
    let [first, second, _] = [(); 3].map(|()| client.call(Kind::Write));
    client.sent(FIRST);
    client.succeed(FIRST, [first.0, second.0]);
    assert!(start_untimed(&mut client, METHOD, 0).is_ok(), "the session goes on");
    client.core.handle_time(client.now);
    client.sent(FIRST);
    client.succeed(FIRST, [3, 4]);
    assert!(start_untimed(&mut client, METHOD, 0).is_err(), "nothing is pending: it is left");
}

#[test]
fn the_first_call_without_a_time_wakes_a_connection_that_has_bytes_to_send() {
    let mut client = Client::new();
    client.call(Kind::Write);
    client.events();
    start_untimed(&mut client, METHOD, 0).unwrap();
    assert_eq!(client.events(), [Event::Transmit(FIRST)]);
    start_untimed(&mut client, METHOD, 0).unwrap();
    assert_eq!(client.events(), [], "it is awake");
}

#[test]
fn results_that_nobody_takes_hold_up_the_ring_at_four_windows() {
    const OWN_WINDOW: u32 = 8;
    let mut client = Client::with(ClientConfig::default().max_in_flight(OWN_WINDOW), 1);
    for _ in 0..4 * OWN_WINDOW {
        let seq = client.call(Kind::Write);
        client.answer(FIRST, response(seq, 1, Status::Success));
    }
    let full = client.start(Kind::Write, CallOptions::USUAL, vec![7]);
    assert_eq!(full, Err(StartError::WindowFull(vec![7])));
    assert!(client.told(Seq::FIRST).is_some());
    assert!(client.start(Kind::Write, CallOptions::USUAL, vec![7]).is_ok());
}

#[test]
fn a_usual_call_says_what_is_new_to_the_server_and_a_deadline_of_its_own() {
    const SHORT: Duration = Duration::from_secs(3);
    let mut client = Client::new();
    let mut say = |answered: &[u64], deadline| {
        client.succeed(FIRST, answered.iter().copied());
        client.sent(FIRST);
        let seq = start_untimed_until(&mut client, METHOD, 4, deadline).unwrap();
        let request = client.request(FIRST);
        assert_eq!((request.seq, request.attempt), (seq, 1));
        (request.ack, request.deadline)
    };
    assert_eq!(say(&[], DEADLINE), (Some((Seq(1), 0)), None));
    assert_eq!(say(&[], DEADLINE), (None, None));
    assert_eq!(say(&[], SHORT), (None, Some(SHORT)));
    assert_eq!(say(&[1], SHORT), (Some((Seq(2), 0)), Some(SHORT)));
}

#[test]
fn no_more_calls_are_in_flight_than_the_window_allows() {
    let mut client = Client::with(ClientConfig::default().max_in_flight(8), 1);
    client.make_writes(8);
    assert_eq!(start_untimed(&mut client, METHOD, 1), Err(vec![0]));
    let start = |client: &mut Client| client.start(Kind::Write, CallOptions::USUAL, vec![7]);
    assert_eq!(start(&mut client), Err(StartError::WindowFull(vec![7])));
    client.succeed(FIRST, [1]);
    assert_eq!(start(&mut client), Ok(Seq(9)));
    assert_eq!(start(&mut client), Err(StartError::WindowFull(vec![7])));
}

/// A client whose window of two calls is full, and whom a third one waits for until a time from now.
fn full(until: Duration) -> (Client, Waker) {
    let mut client = Client::with(ClientConfig::default().max_in_flight(2), 1);
    client.make_writes(2);
    let third = waker();
    client.core.wait_for_room(client.now + until, third.clone());
    (client, third)
}

fn is_woken(client: &mut Client, waker: &Waker) -> bool {
    let mut woken = Vec::new();
    client.core.poll_wakers(&mut woken);
    woken.iter().any(|it| it.will_wake(waker))
}

#[test]
fn whoever_waits_for_room_is_woken_when_the_oldest_call_ends() {
    let (mut client, third) = full(DEADLINE);
    client.succeed(FIRST, [2]);
    assert!(!is_woken(&mut client, &third), "the window begins at the first that is pending");
    client.succeed(FIRST, [1]);
    assert!(is_woken(&mut client, &third));
}

#[test]
fn whoever_waits_for_room_is_woken_at_its_deadline_and_not_before() {
    let (mut client, third) = full(ONE_SECOND / 2);
    assert_eq!(client.core.poll_timeout(), client.now + ONE_SECOND / 2);
    // Some other call's time comes first.
    client.core.note_call_at(client.now);
    client.pass(ONE_SECOND / 2 - TICK);
    assert!(!is_woken(&mut client, &third));
    assert_eq!(client.core.poll_timeout(), client.now + TICK);
    client.pass(TICK);
    assert!(is_woken(&mut client, &third));
}
