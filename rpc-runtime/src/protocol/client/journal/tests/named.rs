//! Calls with names.

use std::task::Waker;

use super::super::super::{ClientConfig, NotStarted, StartError};
use super::super::{AHEAD, CallOutcome};
use super::{DEADLINE, LOOK, Life, PAY};
use crate::error::{NotExecuted, Unknown};
use crate::id::{CallId, ClientId, Seq};
use crate::service::Kind;
use crate::wire::response::Status;

#[test]
fn a_name_stands_for_one_call() {
    let mut life = Life::first();
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    let elsewhere = life.named("invoice", b"args").unwrap_err();
    let NotStarted::Settled(elsewhere) = elsewhere else { panic!("{elsewhere:?}") };
    assert_eq!(elsewhere.outcome, CallOutcome::unknown(Unknown::AwaitedElsewhere));
    life.answer(seq, 1, Status::Success);
    life.write();
    assert_eq!(life.told(seq), Some(CallOutcome::Success));
    life.write();
    let mut life = life.next();
    for _ in 0..2 {
        let NotStarted::Settled(known) = life.named("invoice", b"args").unwrap_err() else {
            panic!("it has ended")
        };
        assert_eq!((known.outcome, &known.payload[..]), (CallOutcome::Success, &b"result"[..]));
    }
    let NotStarted::Settled(other) = life.named("invoice", b"other").unwrap_err() else {
        panic!("the name is taken")
    };
    assert_eq!(other.outcome, CallOutcome::not_executed(NotExecuted::IdReused));
    assert_eq!(life.core.journalled().len(), 1);
    assert!(life.core.forget_named("invoice"));
    assert!(!life.core.forget_named("invoice"));
    life.write();
    assert_eq!(life.rows.len(), 1);
    assert_eq!(life.named("invoice", b"other").unwrap(), seq.next());
}

#[test]
fn a_named_call_is_gone_on_with_in_the_next_life() {
    let mut life = Life::first();
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    let mut life = life.next();
    assert_eq!(life.named("invoice", b"args").unwrap(), seq);
    assert!(!life.core.forget_named("invoice"), "it has not ended");
    assert_eq!(life.sent(), [(seq.0, AHEAD + 1, false)]);
    life.answer(seq, AHEAD + 1, Status::BusinessError);
    assert_eq!(life.told(seq), None);
    life.write();
    assert_eq!(life.told(seq), Some(CallOutcome::BusinessError));
}

#[test]
fn a_dropped_named_call_can_be_asked_for() {
    let mut life = Life::first();
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    life.core.handle_dropped(seq);
    assert_eq!(life.named("invoice", b"args").unwrap(), seq);
    life.core.handle_dropped(seq);
    life.answer(seq, 1, Status::Success);
    life.core.handle_dropped(seq);
    life.write();
    assert!(matches!(life.named("invoice", b"args"), Err(NotStarted::Settled(_))));
}

#[test]
fn what_was_not_executed_leaves_its_name_free() {
    let mut life = Life::first();
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    let aborted = Status::Aborted(crate::store::AbortReason::Deadline);
    life.answer(seq, 1, aborted);
    life.write();
    assert!(matches!(life.told(seq), Some(CallOutcome::NotExecuted(_))));
    assert_eq!(life.rows.len(), 1);
    assert_eq!(life.named("invoice", b"other").unwrap(), seq.next());
}

#[test]
fn a_named_call_is_asked_for_by_its_id_too() {
    let mut life = Life::first();
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    life.answer(seq, 1, Status::Success);
    life.write();
    life.told(seq);
    let [known] = &life.core.journalled()[..] else { panic!("one call") };
    assert_eq!((known.method.as_str(), known.has_ended), ("pay", true));
    let id = known.id;
    let deadline = life.now + DEADLINE;
    let mut ask = |id, arguments: &[u8]| {
        let asked = life.core.ask_again(life.now, id, PAY, deadline, arguments, Waker::noop());
        asked.unwrap_err().outcome
    };
    assert_eq!(ask(id, b"args"), CallOutcome::Success);
    assert_eq!(ask(id, b"other"), CallOutcome::not_executed(NotExecuted::IdReused));
    let elsewhere = CallId { client: ClientId(8), seq };
    assert_eq!(ask(elsewhere, b"args"), CallOutcome::unknown(Unknown::Stale));
}

/// Its name leads to the outcome of a named call, and its id to that of another.
#[test]
fn what_is_given_up_is_kept_in_one_place() {
    for name in [Some("invoice"), None] {
        let mut life = Life::first();
        let seq = match name {
            Some(name) => life.named(name, b"args").unwrap(),
            None => life.pay(),
        };
        life.write();
        life.pass(DEADLINE);
        life.pass(ClientConfig::default().settle_grace);
        assert!(matches!(life.told(seq), Some(CallOutcome::Unknown(_))));
        life.answer(seq, 1, Status::Success);
        life.write();
        assert_eq!(life.core.kept_outcomes.len(), usize::from(name.is_none()), "{name:?}");
    }
}

/// Whoever asks too late is told how the call ended all the same, and never that it did not begin.
#[test]
fn a_known_name_is_no_new_call_even_without_time() {
    let ask = |life: &mut Life| {
        let (now, kind, waker) = (life.now, Kind::Write, Waker::noop());
        life.core.start_named(now, "invoice", PAY, kind, None, now, b"args".to_vec(), waker)
    };
    let mut life = Life::first();
    let Err(NotStarted::Start(StartError::Refused(NotExecuted::Deadline))) = ask(&mut life) else {
        panic!("it is new, and has no time")
    };
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    let mut life = life.next();
    life.sent();
    assert_eq!(ask(&mut life).unwrap(), seq);
    life.pass(std::time::Duration::ZERO);
    assert_eq!(life.sent(), [(seq.0, AHEAD + 2, true)], "it is settled");
}

#[test]
fn why_an_outcome_is_unknown_is_kept() {
    let mut life = Life::first();
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    life.answer(seq, 1, Status::Never(crate::error::Refusal::Stale));
    life.write();
    let mut life = life.next();
    let Err(NotStarted::Settled(known)) = life.named("invoice", b"args") else {
        panic!("it may have been executed")
    };
    assert_eq!(known.outcome, CallOutcome::unknown(Unknown::Stale));
}

#[test]
fn names_are_refused_where_they_mean_nothing() {
    let why = |started: Result<Seq, NotStarted>| match started {
        Err(NotStarted::Start(StartError::Refused(NotExecuted::Unnameable(why)))) => why,
        other => panic!("{other:?}"),
    };
    let mut life = Life::first();
    assert!(why(life.named("", b"")).contains("1 to 256 bytes"));
    assert!(why(life.named(&"x".repeat(257), b"")).contains("257"));
    assert!(life.named(&"x".repeat(256), b"").is_ok());
    let (now, waker) = (life.now, Waker::noop());
    let read = life.core.start_named(now, "x", LOOK, Kind::Read, None, now, Vec::new(), waker);
    assert!(why(read).contains("only writes"));
    life.core.journal = None;
    assert!(why(life.named("x", b"")).contains("no journal"));
}

#[test]
fn an_open_call_of_a_client_that_ended_is_never_said_not_to_be_executed() {
    let ends: [fn(&mut Life); 2] =
        [|life| life.core.handle_close(), |life| life.core.handle_journal_failed("no room")];
    for (end, expected) in
        ends.into_iter().zip([Unknown::ClientClosed, Unknown::JournalFailed("no room".to_owned())])
    {
        let mut life = Life::first();
        life.named("invoice", b"args").unwrap();
        life.write();
        let mut life = life.next();
        end(&mut life);
        let Err(NotStarted::Settled(known)) = life.named("invoice", b"args") else {
            panic!("it may have been executed")
        };
        assert_eq!(known.outcome, CallOutcome::unknown(expected));
        let new = life.named("other", b"args");
        let Err(NotStarted::Start(StartError::Refused(_))) = new else { panic!("{new:?}") };
    }
}
