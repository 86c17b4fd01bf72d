//! What time brings.

use std::time::Duration;

use super::{Client, FIRST, ONE_SECOND, SECOND, Sent, TICK, is_about, response};
use crate::error::NotExecuted;
use crate::id::Seq;
use crate::protocol::client::call::{CallState, Caller};
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
fn a_timer_that_is_looked_at_early_forgets_the_calls_that_have_ended() {
    let mut client = Client::new();
    let ended = client.call(Kind::Write);
    let first = client.look(ended).next_at;
    client.now = client.now + Duration::from_millis(1);
    let pending = client.call(Kind::Write);
    client.sent(FIRST);
    client.answer_latest(FIRST, ended);
    assert_eq!(client.core.poll_timeout(), first, "nobody has looked");
    client.core.handle_early_timeout(client.now);
    assert_eq!(client.core.poll_timeout(), client.look(pending).next_at);
    assert!(client.look(pending).next_at > first);
    assert_eq!(client.sent(FIRST), [], "it is not late yet");
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
    let why = NotExecuted::NotConnected("server 0: nobody listens".to_owned());
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

#[test]
fn a_call_that_a_live_server_leaves_unanswered_twice_goes_to_another() {
    let mut client = Client::with(ClientConfig::default(), 2);
    let seq = client.call(Kind::Write);
    let server = client.look(seq).endpoint;
    client.time_out_at_a_live_server(seq);
    assert_eq!(client.look(seq).endpoint, server, "only the message may have been lost");
    client.time_out_at_a_live_server(seq);
    assert_ne!(client.look(seq).endpoint, server);
}

#[test]
fn what_is_to_be_settled_goes_to_another_server_at_the_first_time_out() {
    let mut client = Client::with(ClientConfig::default(), 2);
    let seq = client.call(Kind::Write);
    let server = client.look(seq).endpoint;
    client.core.handle_dropped(seq);
    assert!(client.look(seq).rare().settle);
    client.time_out_at_a_live_server(seq);
    assert_ne!(client.look(seq).endpoint, server);
}

#[test]
fn a_call_that_nobody_waits_for_is_settled_at_leisure() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.core.handle_dropped(seq);
    for silent in 1..=4 {
        client.time_out_at_a_live_server(seq);
        let call = client.look(seq);
        assert_eq!((call.state, call.rare().silent), (CallState::Sent, silent));
    }
    client.time_out_at_a_live_server(seq);
    let call = client.look(seq);
    assert_eq!((call.state, call.rare().silent), (CallState::Backoff, 3));
    let pause = ClientConfig::default().min_timeout * 16;
    assert!(is_about(call.next_at, client.now, pause));
}

#[test]
fn a_call_that_is_waited_for_is_never_left_for_later() {
    let mut client = Client::with(ClientConfig::default().deadline(ONE_SECOND * 300), 1);
    let seq = client.call(Kind::Write);
    for attempt in 2..10 {
        client.time_out_at_a_live_server(seq);
        let call = client.look(seq);
        assert_eq!((call.state, call.caller), (CallState::Sent, Caller::Waiting));
        assert_eq!(call.attempts, attempt);
    }
}

#[test]
fn a_server_that_says_anything_is_not_silent() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.time_out_at_a_live_server(seq);
    assert_eq!(client.core.endpoint(FIRST).silent_timeouts, 0);
    client.time_out(seq);
    assert_eq!(client.core.endpoint(FIRST).silent_timeouts, 1);
}

#[test]
fn calls_that_went_out_together_are_silent_once() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.call(Kind::Write);
    client.time_out(seq);
    assert_eq!(client.core.stats.timeouts, 2);
    assert_eq!(client.core.endpoint(FIRST).silent_timeouts, 1);
    assert!(client.core.endpoint(FIRST).suspicion.is_none());
}

#[test]
fn a_server_that_is_silent_twice_is_suspect_and_probed_now_and_then() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.time_out(seq);
    client.sent(FIRST);
    client.time_out(seq);
    assert_eq!(client.sent(FIRST), [Sent::Ping]);
    let suspicion = client.core.endpoint(FIRST).suspicion.expect("it was silent twice");
    let interval = ClientConfig::default().probe_interval;
    assert_eq!(suspicion.next_probe, client.now + interval);
    client.pass(interval);
    assert_eq!(client.sent(FIRST), [Sent::Ping]);
    client.pong(FIRST);
    assert_eq!(client.request(FIRST).seq, seq, "it is back");
}

#[test]
fn a_suspect_server_is_probed_ever_more_rarely() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.time_out(seq);
    client.time_out(seq);
    assert_eq!(client.core.stats.suspicions, 1);
    client.sent(FIRST);
    let next_probe = |client: &Client| {
        client.core.endpoint(FIRST).suspicion.expect("it has not been heard").next_probe
    };
    for millis in [200, 400, 800, 1_600, 2_000] {
        let at = next_probe(&client);
        assert_eq!(client.core.poll_timeout(), at, "nothing else is due");
        client.pass(at.since(client.now));
        assert_eq!(client.sent(FIRST), [Sent::Ping]);
        assert!(is_about(next_probe(&client), client.now, Duration::from_millis(millis)));
    }
}

#[test]
fn the_calls_of_a_server_that_becomes_suspect_go_to_another_once() {
    let mut client = Client::with(ClientConfig::default(), 2);
    let seq = client.call(Kind::Write);
    let elsewhere = if client.look(seq).endpoint == FIRST { SECOND } else { FIRST };
    client.time_out(seq);
    assert_eq!(client.requests(elsewhere), []);
    client.time_out(seq);
    assert_eq!(client.request(elsewhere).attempt, 3);
}

#[test]
fn an_ack_that_no_request_takes_along_is_sent_alone_a_moment_after_the_first_answer() {
    // Shorter than any time-out of the calls that are not answered.
    let delay = Duration::from_millis(500);
    let mut client = Client::with(ClientConfig::default().ack_delay(delay), 1);
    client.make_writes(3);
    client.succeed(FIRST, [1]);
    assert_eq!(client.core.poll_timeout(), client.now + delay);
    client.pass(delay - TICK);
    client.succeed(FIRST, [2]);
    assert_eq!(client.sent(FIRST), []);
    client.pass(TICK);
    assert_eq!(client.sent(FIRST), [Sent::Ack(Seq(3))]);
}

#[test]
fn at_its_deadline_a_write_is_settled_where_it_runs_and_if_it_does_not_at_another_server() {
    for runs in [true, false] {
        let mut client = Client::with(ClientConfig::default(), 2);
        let seq = client.call(Kind::Write);
        let server = client.look(seq).endpoint;
        client.now = client.look(seq).deadline - TICK;
        client.pong(FIRST);
        client.pong(SECOND);
        if runs {
            client.answer(server, response(seq, 1, Status::InProgress));
        }
        client.pass(TICK);
        let call = client.look(seq);
        assert_eq!((call.rare().settle, call.endpoint == server), (true, runs));
    }
}

#[test]
fn what_is_asked_to_be_settled_in_vain_is_asked_again_within_the_grace() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.now = client.look(seq).deadline - TICK;
    client.answer(FIRST, response(seq, 1, Status::InProgress));
    client.pass(TICK);
    client.sent(FIRST);
    client.pass(ONE_SECOND * 5 / 4);
    let request = client.request(FIRST);
    assert_eq!((request.attempt, request.settle), (3, true));
}
