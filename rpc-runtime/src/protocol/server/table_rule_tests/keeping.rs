//! What a table takes, keeps, lets go of and sends.

use super::*;

#[test]
fn the_window_goes_from_the_watermark_on() {
    let mut table = table();
    let last = u64::from(WINDOW);
    run(&mut table, last);
    assert_silent(&mut table, &request(last + 1, 1));
    assert_eq!(status(&mut table), Status::Refused(RefusalReason::Overloaded));
    table.handle_ack(Ack::new(Seq(2), &[]));
    run(&mut table, last + 1);
}

#[test]
fn the_table_is_full_when_as_many_run_as_may() {
    let mut table = table();
    let runs: Vec<_> = (1..=8)
        .map(|seq| {
            assert!(!table.is_full());
            run(&mut table, seq)
        })
        .collect();
    assert!(table.is_full());
    end(&mut table, 3, runs[2], tentative(&[]));
    assert!(!table.is_full());
}

#[test]
fn the_oldest_responses_are_forgotten_and_no_more_than_must_be() {
    let mut table = table();
    for seq in 1..=2 {
        done(&mut table, seq, &[0; 50]);
    }
    assert_eq!(table.held(), 100);
    assert_silent(&mut table, &request(1, 1));
    done(&mut table, 3, &[0; 50]);
    assert_eq!(table.held(), 100);
    assert_silent(&mut table, &request(2, 1));
    assert_silent(&mut table, &request(3, 1));
    admit(&mut table, &request(1, 2));
}

#[test]
fn a_long_explanation_is_cut_between_two_characters() {
    let mut table = table();
    for (seq, text, cut) in [
        (1, "short".to_owned(), 5),
        (2, "a".repeat(MAX_MESSAGE), MAX_MESSAGE),
        (3, "a".repeat(MAX_MESSAGE + 1), MAX_MESSAGE),
        (4, "a".to_owned() + &"\u{1F4B6}".repeat(MAX_MESSAGE), MAX_MESSAGE - 3),
    ] {
        let run = run(&mut table, seq);
        end(&mut table, seq, run, Answer::Unknown(text.clone()));
        assert_eq!(payloads(&mut table), [&text.as_bytes()[..cut]]);
    }
}

#[test]
fn what_was_acknowledged_is_never_executed_again() {
    let mut table = table();
    for seq in 1..=4 {
        done(&mut table, seq, &[0; 10]);
    }
    sent(&mut table);
    table.handle_ack(Ack::new(Seq(2), &[0b1]));
    assert_eq!((table.watermark(), table.held()), (Seq(2), 20));
    for seq in 1..=4 {
        assert_silent(&mut table, &request(seq, 1));
    }
    let answers: Vec<_> = sent(&mut table).iter().map(|it| it.status).collect();
    let stale = Status::Never(Refusal::Stale);
    assert_eq!(answers, [stale, Status::Success, stale, Status::Success]);
}

#[test]
fn a_run_that_nobody_waits_for_is_stopped() {
    let mut table = table();
    run_started(&mut table, 1);
    table.handle_ack(Ack::new(Seq(2), &[]));
    assert_eq!(table.running(), 0);
    table.handle_idle();
    assert!(matches!(table.poll_duty(), Some(Duty::Forget(1))));
}

const CAPACITY: usize = 4096;

fn roomy() -> CallTable<u64> {
    let limits = TableLimits { window: WINDOW, max_running: 64, max_held_bytes: 1 << 20 };
    CallTable::new(limits, Seq::FIRST)
}

/// Answers a call with a buffer of this capacity.
fn answer_in(table: &mut CallTable<u64>, seq: u64, mut buffer: Vec<u8>, capacity: usize) {
    assert!(buffer.is_empty());
    buffer.reserve_exact(capacity);
    buffer.push(1);
    let run = run(table, seq);
    end(table, seq, run, Answer::Tentative(Status::Success, Payload::Owned(buffer)));
    sent(table);
}

#[test]
fn the_buffers_of_acknowledged_responses_are_used_again() {
    let mut table = roomy();
    for seq in 1..=100 {
        let buffer = table.buffer();
        assert!(seq == 1 || buffer.capacity() == CAPACITY, "for call {seq}");
        answer_in(&mut table, seq, buffer, CAPACITY);
        table.handle_ack(Ack::new(Seq(seq + 1), &[]));
    }
}

#[test]
fn no_more_spare_buffers_are_kept_than_have_room() {
    let mut table = roomy();
    for seq in 1..=40 {
        answer_in(&mut table, seq, Vec::new(), CAPACITY);
    }
    table.handle_ack(Ack::new(Seq(41), &[]));
    let spare = (1..=40).filter(|_| table.buffer().capacity() > 0).count();
    assert_eq!(spare * CAPACITY, 128 << 10);
}

#[test]
fn a_large_buffer_is_not_kept() {
    let mut table = roomy();
    answer_in(&mut table, 1, Vec::new(), CAPACITY + 1);
    table.handle_ack(Ack::new(Seq(2), &[]));
    assert_eq!(table.buffer().capacity(), 0);
}

#[test]
fn a_quiet_session_gives_its_spare_buffers_back() {
    let mut table = roomy();
    answer_in(&mut table, 1, Vec::new(), CAPACITY);
    table.handle_ack(Ack::new(Seq(2), &[]));
    table.handle_idle();
    assert_eq!(table.buffer().capacity(), 0);
}

#[test]
fn a_quiet_session_keeps_what_it_may_be_asked_for() {
    let mut table = roomy();
    answer_in(&mut table, 1, Vec::new(), CAPACITY);
    table.handle_idle();
    assert_silent(&mut table, &request(1, 1));
    table.handle_ack(Ack::new(Seq(2), &[]));
    table.handle_idle();
    let answers = sent(&mut table);
    assert!(answers.len() == 1 && answers[0].resend, "{answers:?}");
}

#[test]
fn what_waits_to_be_sent_is_taken_once() {
    let mut table = table();
    let mut bytes = Vec::new();
    assert!(!table.has_output() && !table.poll_transmit(&mut bytes));
    done(&mut table, 1, &[0; 20]);
    let length = table.output_len();
    assert!(table.has_output() && length > 20);
    assert!(table.poll_transmit(&mut bytes));
    assert_eq!(bytes.len(), length);
    assert!(!table.has_output() && table.output_len() == 0);
}

#[test]
fn what_a_lost_connection_was_to_bring_is_not_sent_on_the_next() {
    let mut table = table();
    done(&mut table, 1, &[0; 20]);
    table.handle_attached();
    assert_eq!(sent(&mut table), []);
}

#[test]
fn an_answer_says_how_long_the_server_had_the_call() {
    let mut table = table();
    let run = run(&mut table, 1);
    let took = Duration::from_millis(5);
    assert_eq!(table.handle_finished(NOW + took, Seq(1), run, tentative(&[])), None);
    assert_eq!(sent(&mut table)[0].server_time, took);
}

#[test]
fn a_call_that_is_never_run_is_over() {
    let mut table = table();
    let run = run(&mut table, 1);
    end(&mut table, 1, run, Answer::Never(Refusal::Fenced));
    assert_eq!(status(&mut table), Status::Never(Refusal::Fenced));
    assert_eq!(table.running(), 0);
}

#[test]
fn a_server_that_is_shut_down_ends_what_runs_and_begins_nothing() {
    let mut table = table();
    let run = run(&mut table, 1);
    table.handle_draining();
    let told = table.output_len();
    assert!(told > 0, "its clients are told");
    table.handle_draining();
    assert_eq!(table.output_len(), told, "once");
    assert_silent(&mut table, &request(2, 1));
    assert_eq!(status(&mut table), Status::Refused(RefusalReason::ShuttingDown));
    assert_silent(&mut table, &request(1, 2));
    assert_eq!(status(&mut table), Status::InProgress, "a retry joins");
    let outcome = committed(Outcome::Success(vec![5].into()));
    end(&mut table, 1, run, Answer::Committed(outcome));
    assert_eq!(status(&mut table), Status::Success);
}

#[test]
fn all_that_runs_can_be_stopped_together() {
    let mut table = table();
    done(&mut table, 1, &[]);
    run_started(&mut table, 2);
    run(&mut table, 3);
    run_started(&mut table, 4);
    assert_eq!(table.take_handles(), [2, 4]);
    assert!(table.take_handles().is_empty());
}

/// The usual answer has a short way of its own, and says the same.
#[test]
fn what_is_answered_is_said_whatever_the_way() {
    let micros = [0, 99, 100, 101].map(Duration::from_micros);
    for (seq, took) in (1..).zip(micros) {
        let mut table = table();
        (1..seq).for_each(|seq| done(&mut table, seq, &[]));
        table.poll_transmit(&mut Vec::new());
        let run = run(&mut table, seq);
        let error = Answer::Tentative(Status::BusinessError, Payload::Owned(vec![1]));
        let answer = if took.as_micros() == 99 { error } else { tentative(&[1]) };
        let expected = if took.as_micros() == 99 { Status::BusinessError } else { Status::Success };
        assert_eq!(table.handle_finished(NOW + took, Seq(seq), run, answer), None);
        let answers = sent(&mut table);
        let said = if took.as_micros() < 100 { Duration::ZERO } else { took };
        assert_eq!((answers[0].status, answers[0].server_time), (expected, said));
    }
}
