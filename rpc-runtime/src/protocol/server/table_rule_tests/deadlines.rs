//! Deadlines, cancels, and what is given up.

use super::*;

#[test]
fn a_call_is_ended_when_its_deadline_has_come_and_not_before() {
    let mut table = table();
    table.handle_ack(Ack::new(Seq(2), &[]));
    run_started(&mut table, 4);
    assert_eq!(table.poll_timeout(), DEADLINE);
    table.handle_timeout(Time(DEADLINE.0 - 1));
    assert!(table.poll_duty().is_none());
    assert_eq!(table.poll_timeout(), DEADLINE);
    table.handle_timeout(DEADLINE);
    let duty = table.poll_duty();
    assert!(matches!(duty, Some(Duty::Abort(Seq(4), _, AbortReason::Deadline, 4))), "{duty:?}");
    assert_eq!(table.running(), 1, "its end is not known yet");
}

#[test]
fn a_call_that_cannot_be_stopped_yet_is_looked_at_again_soon() {
    let mut table = table();
    let run = run(&mut table, 1);
    table.handle_timeout(DEADLINE);
    assert!(table.poll_duty().is_none());
    let soon = table.poll_timeout();
    assert_eq!(soon, DEADLINE + Duration::from_millis(10));
    assert_eq!(table.handle_started(Seq(1), run, 7), None);
    table.handle_timeout(soon);
    assert!(matches!(table.poll_duty(), Some(Duty::Abort(Seq(1), .., 7))));
}

#[test]
fn the_earliest_deadline_is_the_next_to_wake_for() {
    let mut table = table();
    let late = DEADLINE + Duration::from_secs(1);
    admit(&mut table, &Incoming { deadline: late, ..request(1, 1) });
    run_started(&mut table, 2);
    assert_eq!(table.poll_timeout(), DEADLINE);
    table.handle_timeout(DEADLINE);
    assert!(matches!(table.poll_duty(), Some(Duty::Abort(Seq(2), ..))));
    assert!(table.poll_duty().is_none(), "the other has time left");
    assert_eq!(table.poll_timeout(), late);
}

#[test]
fn what_is_being_ended_is_not_ended_again() {
    let mut table = table();
    run_started(&mut table, 1);
    table.handle_cancel(Seq(1));
    assert!(matches!(table.poll_duty(), Some(Duty::Abort(Seq(1), _, AbortReason::Cancelled, 1))));
    table.handle_cancel(Seq(1));
    table.handle_timeout(DEADLINE);
    assert!(table.poll_duty().is_none());
    assert_eq!(table.poll_timeout(), Time::NEVER, "and nothing else has a deadline");
}

/// A read leaves nothing behind, so that its end was not recorded leaves nothing open.
#[test]
fn a_read_that_was_ended_and_refused_is_over() {
    let mut table = table();
    let run = admit(&mut table, &read(1, 1));
    assert_eq!(table.handle_started(Seq(1), run, 7), None);
    table.handle_cancel(Seq(1));
    let Some(Duty::Abort(_, abort, ..)) = table.poll_duty() else { panic!("it is ended") };
    let refused = Answer::Refused(RefusalReason::Cancelled, String::new());
    end(&mut table, 1, abort, refused);
    assert_eq!(status(&mut table), Status::Refused(RefusalReason::Cancelled));
}

/// Its business was stopped, but may have ended just before.
#[test]
fn the_late_end_of_a_run_that_was_given_up_ends_nothing() {
    let mut table = table();
    let run = run_started(&mut table, 1);
    table.handle_cancel(Seq(1));
    let Some(Duty::Abort(_, abort, ..)) = table.poll_duty() else { panic!("it is ended") };
    for late in [
        Answer::Refused(RefusalReason::Failed, String::new()),
        Answer::Unknown(String::new()),
        Answer::Never(Refusal::Stale),
    ] {
        end(&mut table, 1, run, late);
        assert!(!table.has_output(), "nothing is known of it yet");
        assert_eq!(table.running(), 1);
    }
    let outcome = committed(Outcome::Aborted(AbortReason::Cancelled));
    end(&mut table, 1, abort, Answer::Committed(outcome));
    assert_eq!(status(&mut table), Status::Aborted(AbortReason::Cancelled));
}

fn settle(request: Incoming) -> Incoming {
    Incoming { settle: true, ..request }
}

#[test]
fn a_write_that_was_given_up_is_settled_also_if_all_runs_are_taken() {
    let mut table = table();
    for seq in 1..=8 {
        run(&mut table, seq);
    }
    let admission = table.handle_request(NOW, &settle(request(9, 2)));
    let Admission::Settle(run, AbortReason::Cancelled) = admission else { panic!("{admission:?}") };
    assert_eq!(table.running(), 9);
    let outcome = committed(Outcome::Aborted(AbortReason::Cancelled));
    end(&mut table, 9, run, Answer::Committed(outcome));
    assert_eq!(status(&mut table), Status::Aborted(AbortReason::Cancelled));
}

#[test]
fn a_read_that_was_given_up_is_not_run() {
    let mut table = table();
    assert_silent(&mut table, &settle(read(1, 1)));
    assert_eq!(status(&mut table), Status::Refused(RefusalReason::Cancelled));
    assert_eq!(table.running(), 0);
}

#[test]
fn a_running_call_that_was_given_up_is_ended() {
    let mut table = table();
    run_started(&mut table, 1);
    assert_silent(&mut table, &request(1, 2));
    assert!(table.poll_duty().is_none(), "a retry alone ends nothing");
    assert_silent(&mut table, &settle(request(1, 3)));
    assert!(matches!(table.poll_duty(), Some(Duty::Abort(Seq(1), _, AbortReason::Cancelled, 1))));
}
