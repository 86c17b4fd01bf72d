//! What answers mean for their calls.

use super::{
    Client, FIRST, METHOD, ONE_SECOND, SECOND, bad_arguments, is_about, is_refused, overloaded,
    response,
};
use crate::id::Seq;
use crate::protocol::client::call::CallState;
use crate::protocol::client::endpoint::Link;
use crate::protocol::client::{CallOptions, CallOutcome, ClientConfig, Event};
use crate::service::Kind;
use crate::wire::handshake::{Reject, RejectReason};
use crate::wire::response::{ResponseHeader, Status};

/// A write whose first attempt was not answered in time, sent a second time.
fn with_a_second_attempt(kind: Kind) -> (Client, Seq) {
    let mut client = Client::new();
    let seq = client.call(kind);
    client.pass(ONE_SECOND);
    assert_eq!(client.look(seq).attempts, 2);
    (client, seq)
}

fn is_measured(client: &Client) -> bool {
    client.core.endpoints.iter().any(|endpoint| endpoint.rtt(METHOD).is_some())
}

#[test]
fn a_refusal_of_an_open_connection_closes_it() {
    let mut client = Client::new();
    let mut bytes = Vec::new();
    Reject { reason: RejectReason::Misbehaved, message: String::new() }.put(&mut bytes);
    client.events();
    client.core.handle_bytes(client.now, FIRST, &bytes).unwrap();
    assert_eq!(client.events(), [Event::Close(FIRST)]);
    assert!(matches!(client.core.endpoint(FIRST).link, Link::Down { .. }));
}

#[test]
fn an_answer_to_what_was_never_sent_is_dropped() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.answer(FIRST, response(seq, 2, Status::Success));
    assert_eq!(client.told(seq), None);
    assert_eq!(client.core.stats.dropped_responses, 1);
}

#[test]
fn an_answer_of_any_kind_ends_the_silence() {
    for answer in [response(Seq::FIRST, 1, Status::InProgress), overloaded(Seq::FIRST, 1)] {
        let (mut client, seq) = with_a_second_attempt(Kind::Write);
        assert_eq!(client.look(seq).rare().silent, 1);
        client.answer(FIRST, answer);
        assert_eq!(client.look(seq).rare().silent, 0);
    }
}

#[test]
fn only_the_latest_attempt_where_it_is_is_measured() {
    let (mut client, seq) = with_a_second_attempt(Kind::Write);
    client.answer(FIRST, overloaded(seq, 1));
    assert!(!is_measured(&client), "an earlier attempt");
    client.answer(FIRST, response(seq, 2, Status::InProgress));
    assert!(!is_measured(&client), "no outcome yet");
    client.answer(FIRST, response(seq, 2, Status::Success));
    assert!(is_measured(&client));

    let mut client = Client::with(ClientConfig::default(), 2);
    let seq = client.call(Kind::Write);
    let elsewhere = if client.look(seq).endpoint == FIRST { SECOND } else { FIRST };
    client.answer(elsewhere, response(seq, 1, Status::Success));
    assert!(!is_measured(&client), "another server");

    let mut client = Client::without_budget();
    let seq = client.call(Kind::Write);
    client.pass(ONE_SECOND);
    assert_eq!(client.look(seq).state, CallState::Backoff);
    client.answer(FIRST, response(seq, 1, Status::Success));
    assert!(!is_measured(&client), "its time was up");
}

#[test]
fn a_late_tentative_result_of_a_write_is_dropped() {
    let (mut client, seq) = with_a_second_attempt(Kind::Write);
    client.answer(FIRST, response(seq, 1, Status::Success));
    client.answer(FIRST, response(seq, 1, Status::BusinessError));
    assert_eq!(client.told(seq), None);
    assert_eq!(client.core.stats.dropped_responses, 2);
    client.answer(FIRST, response(seq, 2, Status::BusinessError));
    assert_eq!(client.told(seq), Some(CallOutcome::BusinessError));
}

#[test]
fn a_late_committed_result_of_a_write_counts() {
    let (mut client, seq) = with_a_second_attempt(Kind::Write);
    let late = ResponseHeader { committed: true, ..response(seq, 1, Status::Success) };
    client.answer(FIRST, late);
    assert_eq!(client.told(seq), Some(CallOutcome::Success));
}

#[test]
fn a_late_result_of_a_read_counts() {
    let (mut client, seq) = with_a_second_attempt(Kind::Read);
    client.answer(FIRST, response(seq, 1, Status::Success));
    assert_eq!(client.told(seq), Some(CallOutcome::Success));
}

#[test]
fn a_call_that_is_running_is_asked_for_again_at_leisure() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.answer(FIRST, response(seq, 1, Status::InProgress));
    assert_eq!(client.core.stats.in_progress, 1);
    let twice_the_least = ClientConfig::default().min_timeout * 2;
    assert!(is_about(client.look(seq).next_at, client.now, twice_the_least));
}

#[test]
fn a_call_that_waits_to_be_sent_again_waits_on_although_it_runs() {
    let mut client = Client::without_budget();
    let seq = client.call(Kind::Write);
    client.pass(ONE_SECOND);
    let next_at = client.look(seq).next_at;
    client.answer(FIRST, response(seq, 1, Status::InProgress));
    let call = client.look(seq);
    assert_eq!((call.state, call.next_at), (CallState::Backoff, next_at));
}

#[test]
fn an_overloaded_server_is_asked_again_after_a_pause() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.answer(FIRST, overloaded(seq, 1));
    assert_eq!(client.look(seq).state, CallState::Backoff);
    let pause = ClientConfig::default().min_backoff;
    assert!(is_about(client.look(seq).next_at, client.now, pause));
}

#[test]
fn a_passing_refusal_of_the_last_attempt_ends_the_call() {
    let mut client = Client::new();
    let twice = CallOptions { max_attempts: 2, ..CallOptions::USUAL };
    let seq = client.start(Kind::Write, twice, Vec::new()).unwrap();
    client.answer(FIRST, overloaded(seq, 1));
    assert_eq!(client.told(seq), None);
    client.pass(ONE_SECOND);
    client.answer(FIRST, overloaded(seq, 2));
    assert!(is_refused(client.told(seq)));
}

#[test]
fn a_passing_refusal_at_the_deadline_ends_the_call() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.now = client.look(seq).deadline;
    client.answer(FIRST, overloaded(seq, 1));
    assert!(is_refused(client.told(seq)));
}

#[test]
fn a_refusal_for_good_of_what_never_ran_ends_the_call() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.answer(FIRST, bad_arguments(seq, 1));
    assert!(is_refused(client.told(seq)));
}

#[test]
fn a_refusal_for_good_settles_a_write_that_may_have_run_before() {
    let (mut client, seq) = with_a_second_attempt(Kind::Write);
    client.answer(FIRST, bad_arguments(seq, 2));
    assert_eq!(client.told(seq), None);
    assert!(client.look(seq).rare().settle);

    let (mut client, seq) = with_a_second_attempt(Kind::Read);
    client.answer(FIRST, bad_arguments(seq, 2));
    assert!(is_refused(client.told(seq)), "a read has no effect to find out about");
}

#[test]
fn an_answer_to_a_call_that_is_over_is_dropped() {
    let mut client = Client::new();
    let seq = client.call(Kind::Write);
    client.succeed(FIRST, [seq.0]);
    client.answer(FIRST, response(seq, 1, Status::BusinessError));
    assert_eq!(client.core.stats.dropped_responses, 1);
    assert_eq!(client.told(seq), Some(CallOutcome::Success));
}

#[test]
fn answers_that_were_sent_again_are_counted() {
    let mut client = Client::new();
    let calls = [(); 3].map(|()| client.call(Kind::Write));
    for (seq, resend) in calls.into_iter().zip([true, false, true]) {
        client.answer(FIRST, ResponseHeader { resend, ..response(seq, 1, Status::Success) });
    }
    assert_eq!(client.core.stats.resent_responses, 2);
}

#[test]
fn an_earlier_attempt_that_runs_does_not_put_the_latest_off() {
    let (mut client, seq) = with_a_second_attempt(Kind::Write);
    let next_at = client.look(seq).next_at;
    client.answer(FIRST, response(seq, 1, Status::InProgress));
    assert_eq!(client.look(seq).next_at, next_at);
    assert!(!client.look(seq).rare().in_progress);
}

/// Counted twice, it would speak for the attempt before, which may have been executed.
#[test]
fn a_refusal_that_comes_twice_speaks_for_one_attempt() {
    let (mut client, seq) = with_a_second_attempt(Kind::Write);
    client.answer_all(FIRST, [overloaded(seq, 2), overloaded(seq, 2)]);
    assert_eq!(client.core.stats.refused, 2);
    client.pass(client.look(seq).deadline.since(client.now));
    assert_eq!(client.told(seq), None, "it is to be settled");
    assert!(client.look(seq).rare().settle);
}

/// What tests break to show that it would be noticed does what its name says, and no more.
#[cfg(feature = "test-util")]
mod broken {
    use super::*;
    use crate::rule::{Broken, Rule};

    #[test]
    fn a_running_call_counts_as_silent_and_a_refused_one_does_not() {
        let broken = Broken::rule(Rule::InProgressIsLife);
        let (mut client, seq) = with_a_second_attempt(Kind::Write);
        client.answer(FIRST, response(seq, 2, Status::InProgress));
        assert_eq!(client.look(seq).rare().silent, 1);
        client.answer(FIRST, overloaded(seq, 1));
        assert_eq!(client.look(seq).rare().silent, 0);
        drop(broken);
    }

    #[test]
    fn a_duplicate_goes_to_the_oldest_call() {
        let broken = Broken::rule(Rule::DropDuplicateResponses);
        let mut client = Client::new();
        let (first, second) = (client.call(Kind::Write), client.call(Kind::Write));
        client.answer(FIRST, response(second, 1, Status::Success));
        assert_eq!(client.told(first), None, "this one was no duplicate");
        client.answer(FIRST, response(second, 1, Status::Success));
        assert_eq!(client.told(first), Some(CallOutcome::Success));
        drop(broken);
    }

    #[test]
    fn every_answer_goes_to_the_oldest_call() {
        let broken = Broken::rule(Rule::MatchBySeq);
        let mut client = Client::new();
        let (first, second) = (client.call(Kind::Write), client.call(Kind::Write));
        client.answer(FIRST, response(second, 1, Status::Success));
        assert_eq!(client.told(first), Some(CallOutcome::Success));
        assert_eq!(client.told(second), None);
        drop(broken);
    }
}

#[test]
fn an_answer_from_another_server_ends_the_call_where_it_was_sent() {
    for is_usual in [true, false] {
        let mut client = Client::with(ClientConfig::default(), 2);
        let seq = if is_usual { client.deposit() } else { client.call(Kind::Write) };
        let sent_to = client.look(seq).endpoint;
        let other = if sent_to == FIRST { SECOND } else { FIRST };
        client
            .answer(other, ResponseHeader { committed: true, ..response(seq, 1, Status::Success) });
        assert_eq!(client.told(seq), Some(CallOutcome::Success));
        let in_flight = [FIRST, SECOND].map(|id| client.core.endpoint(id).in_flight);
        assert_eq!(in_flight, [0, 0]);
    }
}
