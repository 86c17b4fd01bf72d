//! Attempts of one call, and whom its outcome is for.

use super::*;

#[test]
fn a_retry_of_a_running_call_is_told_so_and_gets_its_answer() {
    let mut table = table();
    let run = run(&mut table, 1);
    assert_silent(&mut table, &request(1, 3));
    assert_silent(&mut table, &request(1, 2));
    let told: Vec<_> = sent(&mut table).iter().map(|it| (it.status, it.attempt)).collect();
    let running = Status::InProgress;
    assert_eq!(told, [(running, Attempt(3)), (running, Attempt(2))]);
    let outcome = committed(Outcome::Success(vec![5].into()));
    end(&mut table, 1, run, Answer::Committed(outcome));
    let answers = sent(&mut table);
    assert_eq!((answers[0].attempt, answers[0].committed), (Attempt(3), true));
    assert_eq!(table.running(), 0);
}

/// The first attempt may still reach another server and be executed there.
#[test]
fn a_tentative_outcome_is_recorded_before_a_retry_that_joined_gets_it() {
    for (status, outcome) in [
        (Status::Success, Outcome::Success(vec![5].into())),
        (Status::BusinessError, Outcome::BusinessError(vec![5].into())),
    ] {
        let mut table = table();
        let run = run(&mut table, 1);
        assert_silent(&mut table, &request(1, 2));
        sent(&mut table);
        let answer = Answer::Tentative(status, Payload::Owned(vec![5]));
        let recording = table.handle_finished(NOW, Seq(1), run, answer);
        let Some((recording, to_record)) = recording else { panic!("it is recorded first") };
        assert_eq!(to_record, outcome);
        assert_ne!(recording, run, "the end of the run is not that of the recording");
        assert_eq!((sent(&mut table), table.running()), (vec![], 1));
        end(&mut table, 1, recording, Answer::Committed(committed(outcome)));
        let answers = sent(&mut table);
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].status, answers[0].committed), (status, true));
    }
}

#[test]
fn the_tentative_outcome_of_a_read_is_given_to_a_retry_that_joined() {
    let mut table = table();
    let run = admit(&mut table, &read(1, 1));
    assert_silent(&mut table, &read(1, 2));
    sent(&mut table);
    end(&mut table, 1, run, tentative(&[5]));
    let answers = sent(&mut table);
    assert_eq!((answers[0].attempt, answers[0].committed), (Attempt(2), false));
}

#[test]
fn a_first_run_that_nobody_joined_is_answered_without_a_record() {
    let mut table = table();
    let run = admit(&mut table, &request(1, 2));
    end(&mut table, 1, run, tentative(&[5]));
    assert_eq!(status(&mut table), Status::Success);
}

#[test]
fn a_kept_tentative_outcome_is_for_its_attempt_alone() {
    let mut table = table();
    let run = admit(&mut table, &request(1, 2));
    end(&mut table, 1, run, tentative(&[5, 6]));
    sent(&mut table);
    assert_silent(&mut table, &request(1, 1));
    assert_eq!(sent(&mut table), [], "an earlier attempt has nobody who waits");
    assert_silent(&mut table, &request(1, 2));
    assert!(sent(&mut table)[0].resend);
    assert_eq!((table.held(), table.resent()), (2, 1));
    let admission = table.handle_request(NOW, &request(1, 3));
    let Admission::Record(recording, outcome) = admission else { panic!("{admission:?}") };
    assert_eq!(outcome, Outcome::Success(vec![5, 6].into()));
    assert_eq!((table.held(), table.running()), (0, 1));
    assert_eq!(sent(&mut table), [], "a later one gets it once it is recorded");
    end(&mut table, 1, recording, Answer::Committed(committed(outcome)));
    assert_eq!(sent(&mut table)[0].attempt, Attempt(3));
}

#[test]
fn what_holds_for_all_attempts_is_given_to_each() {
    let mut table = table();
    let run = admit(&mut table, &request(1, 2));
    let outcome = Outcome::BusinessError(vec![5].into());
    end(&mut table, 1, run, Answer::Recorded(committed(outcome)));
    let run = admit(&mut table, &read(2, 2));
    end(&mut table, 2, run, tentative(&[6]));
    sent(&mut table);
    for attempt in 1..=3 {
        assert_silent(&mut table, &request(1, attempt));
        assert_silent(&mut table, &read(2, attempt));
        let answers: Vec<_> = sent(&mut table)
            .iter()
            .map(|it| (it.seq.0, it.attempt.0, it.resend, it.committed))
            .collect();
        assert_eq!(answers, [(1, attempt, true, true), (2, attempt, true, false)]);
    }
    assert_eq!(table.resent(), 6);
}

#[test]
fn a_call_is_answered_again_wherever_the_watermark_is() {
    let mut table = table();
    table.handle_ack(Ack::new(Seq(3), &[]));
    done(&mut table, 4, &[4]);
    done(&mut table, 7, &[7]);
    assert_eq!(payloads(&mut table), [[4], [7]]);
    assert_silent(&mut table, &request(7, 1));
    assert_eq!(payloads(&mut table), [[7]]);
}

#[test]
fn an_id_that_comes_with_other_arguments_is_never_executed() {
    let mut table = table();
    let run = run(&mut table, 1);
    let other = Incoming { hash: ArgumentHash(99), ..request(1, 2) };
    assert_silent(&mut table, &other);
    assert_eq!(status(&mut table), Status::Never(Refusal::IdReused), "while it runs");
    end(&mut table, 1, run, tentative(&[5]));
    assert_eq!(sent(&mut table)[0].attempt, Attempt(1), "it has not joined");
    assert_silent(&mut table, &other);
    assert_eq!(status(&mut table), Status::Never(Refusal::IdReused), "nor later");
    assert_silent(&mut table, &request(1, 1));
    assert_eq!(status(&mut table), Status::Success, "the first arguments hold");
}

/// What is recorded holds, whoever has found it.
#[test]
fn a_record_that_an_earlier_run_found_ends_the_call() {
    let mut table = table();
    let first = run(&mut table, 1);
    end(&mut table, 1, first, Answer::Unknown(String::new()));
    let second = admit(&mut table, &request(1, 2));
    sent(&mut table);
    let outcome = committed(Outcome::Aborted(AbortReason::Failed));
    end(&mut table, 1, first, Answer::Recorded(outcome));
    let answers = sent(&mut table);
    assert_eq!(answers[0].status, Status::Aborted(AbortReason::Failed));
    assert_eq!((answers[0].attempt, table.running()), (Attempt(2), 0));
    end(&mut table, 1, second, tentative(&[5]));
    assert_eq!(sent(&mut table), [], "it has been answered");
}

#[test]
fn each_attempt_stays_refused_for_the_reason_of_the_latest() {
    let mut table = table();
    for seq in 2..=9 {
        run(&mut table, seq);
    }
    let overloaded = Status::Refused(RefusalReason::Overloaded);
    assert_silent(&mut table, &request(1, 1));
    assert_eq!(status(&mut table), overloaded);
    table.handle_draining();
    sent(&mut table);
    assert_silent(&mut table, &request(1, 1));
    assert_eq!(status(&mut table), overloaded, "as it was told before");
    let shutting_down = Status::Refused(RefusalReason::ShuttingDown);
    for attempt in [2, 2, 1] {
        assert_silent(&mut table, &request(1, attempt));
        assert_eq!(status(&mut table), shutting_down);
    }
}

#[test]
fn a_later_attempt_that_was_refused_is_not_run_when_it_comes_again() {
    let mut table = table();
    let runs: Vec<_> = (2..=9).map(|seq| run(&mut table, seq)).collect();
    assert_silent(&mut table, &request(1, 1));
    assert_silent(&mut table, &request(1, 2));
    end(&mut table, 2, runs[0], tentative(&[]));
    sent(&mut table);
    assert_silent(&mut table, &request(1, 2));
    assert_eq!(status(&mut table), Status::Refused(RefusalReason::Overloaded));
    admit(&mut table, &request(1, 3));
}
