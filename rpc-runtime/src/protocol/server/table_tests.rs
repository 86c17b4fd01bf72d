//! What a table says when a store does not do as it is asked, and acks against a naive model.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{Admission, Answer, CallTable, Duty, Incoming, Payload, RunNumber, TableLimits};
use crate::id::{ArgumentHash, Attempt, Seq};
use crate::service::Kind;
use crate::store::AbortReason;
use crate::time::Time;
use crate::wire::ack::Ack;
use crate::wire::frame::FrameDecoder;
use crate::wire::response::{RefusalReason, ResponseHeader, ServerFrame, Status};

pub(super) const NOW: Time = Time(1_000_000);
pub(super) const WINDOW: u32 = 64;

pub(super) fn table() -> CallTable<u64> {
    let limits = TableLimits { window: WINDOW, max_running: 8, max_held_bytes: 100 };
    CallTable::new(limits, Seq::FIRST)
}

pub(super) fn request(seq: u64, attempt: u32) -> Incoming {
    Incoming {
        seq: Seq(seq),
        attempt: Attempt(attempt),
        kind: Kind::Write,
        hash: ArgumentHash(seq),
        deadline: NOW + Duration::from_secs(1),
        settle: false,
    }
}

/// Lets a call's first attempt begin.
pub(super) fn run(table: &mut CallTable<u64>, seq: u64) -> RunNumber {
    match table.handle_request(NOW, &request(seq, 1)) {
        Admission::Run(run) => run,
        other => panic!("it runs, and is not {other:?}"),
    }
}

/// What the table has sent since.
pub(super) fn sent(table: &mut CallTable<u64>) -> Vec<ResponseHeader> {
    let mut bytes = Vec::new();
    table.poll_transmit(&mut bytes);
    let mut decoder = FrameDecoder::new(1 << 20);
    let mut input = &bytes[..];
    let mut headers = Vec::new();
    loop {
        let mut finished = Vec::new();
        let Some(frame) = decoder.next(&mut input, &mut finished).unwrap() else { return headers };
        if let ServerFrame::Response(header, _) = ServerFrame::decode(frame).unwrap() {
            headers.push(header);
        }
    }
}

/// The business may have been at its commit when it was stopped. That the record of its end was
/// refused says nothing of that commit: taken for a refusal of the call, it would be reported as not
/// executed.
#[test]
fn an_abort_that_the_store_refuses_leaves_the_call_open() {
    let mut table = table();
    let run = run(&mut table, 1);
    assert_eq!(table.handle_started(Seq(1), run, 7), None);
    table.handle_timeout(NOW + Duration::from_secs(2));
    let Some(Duty::Abort(seq, abort, AbortReason::Deadline, 7)) = table.poll_duty() else {
        panic!("the deadline has passed")
    };
    let refused = Answer::Refused(RefusalReason::StoreUnavailable, "full".to_owned());
    assert_eq!(table.handle_finished(NOW, seq, abort, refused), None);
    let answers = sent(&mut table);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].status, Status::Unknown, "it must be asked for again");
    assert_eq!(table.running(), 0);
}

/// A run that was stopped may still come to its end, once its call runs anew. Were its end taken for
/// that of the current run, the caller would be told "not enough" by the first while the second moves
/// the money.
#[test]
fn the_late_end_of_an_earlier_run_is_not_heard() {
    let mut table = table();
    let first = run(&mut table, 1);
    assert_eq!(table.handle_finished(NOW, Seq(1), first, Answer::Unknown(String::new())), None);
    let Admission::Run(second) = table.handle_request(NOW, &request(1, 2)) else {
        panic!("it is tried again")
    };
    sent(&mut table);
    let late = Answer::Tentative(Status::BusinessError, Payload::Owned(vec![1]));
    assert_eq!(table.handle_finished(NOW, Seq(1), first, late), None);
    assert_eq!(sent(&mut table), [], "the first run is over");
    assert_eq!(table.handle_started(Seq(1), first, 7), Some(7), "and cannot be stopped any more");
    assert_eq!(table.running(), 1);
    let answer = Answer::Tentative(Status::Success, Payload::Owned(vec![2]));
    assert_eq!(table.handle_finished(NOW, Seq(1), second, answer), None);
    let answers = sent(&mut table);
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].status, answers[0].attempt), (Status::Success, Attempt(2)));
}

/// A client whose only attempt was refused reports the call as not executed. Were that attempt taken
/// for a new one when it comes a second time, the call would be executed all the same.
#[test]
fn an_attempt_that_was_refused_stays_refused() {
    let mut table = table();
    let run = run(&mut table, 1);
    let refused = Answer::Refused(RefusalReason::StoreUnavailable, "full".to_owned());
    assert_eq!(table.handle_finished(NOW, Seq(1), run, refused), None);
    let others: Vec<_> = (2..=9).map(|seq| self::run(&mut table, seq)).collect();
    sent(&mut table);
    assert!(matches!(table.handle_request(NOW, &request(1, 1)), Admission::Handled));
    assert!(matches!(table.handle_request(NOW, &request(10, 1)), Admission::Handled));
    let reasons: Vec<_> = sent(&mut table).iter().map(|answer| answer.status).collect();
    let overloaded = Status::Refused(RefusalReason::Overloaded);
    assert_eq!(reasons, [Status::Refused(RefusalReason::StoreUnavailable), overloaded]);
    let answer = Answer::Tentative(Status::Success, Payload::Owned(vec![1]));
    assert_eq!(table.handle_finished(NOW, Seq(2), others[0], answer), None);
    sent(&mut table);
    assert!(matches!(table.handle_request(NOW, &request(10, 1)), Admission::Handled));
    assert_eq!(sent(&mut table)[0].status, overloaded, "also if there would be room by now");
    assert!(matches!(table.handle_request(NOW, &request(10, 2)), Admission::Run(_)), "a later one");
}

#[test]
fn a_first_run_that_the_store_refuses_is_refused() {
    let mut table = table();
    let run = run(&mut table, 1);
    let refused = Answer::Refused(RefusalReason::StoreUnavailable, "full".to_owned());
    table.handle_finished(NOW, Seq(1), run, refused);
    let status = Status::Refused(RefusalReason::StoreUnavailable);
    assert_eq!(sent(&mut table)[0].status, status);
    assert!(
        matches!(table.handle_request(NOW, &request(1, 2)), Admission::Run(_)),
        "and tried again"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Request(u64, u32),
    /// A running call ends, with this many bytes.
    End(prop::sample::Index, usize),
    /// The client acknowledges all below, and some above.
    Ack(u64, Vec<u8>),
    Cancel(u64),
    Pass(u64),
    Attach,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seq = 1..100u64;
    let step = prop_oneof![
        6 => (seq.clone(), 1..4u32).prop_map(|(seq, attempt)| Step::Request(seq, attempt)),
        4 => (any::<prop::sample::Index>(), 0..80usize).prop_map(|(at, size)| Step::End(at, size)),
        2 => (seq.clone(), vec(any::<u8>(), 0..10)).prop_map(|(seq, above)| Step::Ack(seq, above)),
        1 => seq.prop_map(Step::Cancel),
        1 => (0..2_000u64).prop_map(Step::Pass),
        1 => Just(Step::Attach),
    ];
    vec(step, 0..200)
}

/// What is done for a call.
#[derive(Clone, Copy, Debug)]
enum What {
    Business,
    Record,
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(3),
        ..ProptestConfig::default()
    })]

    /// Whatever a client sends, the table stays within its limits, runs nothing that was
    /// acknowledged, and runs no call twice at once.
    #[test]
    fn a_table_keeps_within_its_limits(steps in steps()) {
        let mut table = table();
        let mut now = NOW;
        let mut running: Vec<(Seq, RunNumber, What)> = Vec::new();
        let (mut watermark, mut acked) = (Seq::FIRST, BTreeSet::new());
        for step in steps {
            match step {
                Step::Request(seq, attempt) => {
                    let request = Incoming { deadline: now + Duration::from_secs(1), ..request(seq, attempt) };
                    let begun = match table.handle_request(now, &request) {
                        Admission::Handled => None,
                        Admission::Run(run) => Some((run, What::Business)),
                        Admission::Record(run, _) | Admission::Settle(run, _) => {
                            Some((run, What::Record))
                        }
                    };
                    if let Some((run, what)) = begun {
                        prop_assert!(Seq(seq) >= watermark, "nothing acknowledged runs");
                        prop_assert!(running.iter().all(|(of, ..)| *of != Seq(seq)), "nothing twice");
                        running.push((Seq(seq), run, what));
                        prop_assert_eq!(table.handle_started(Seq(seq), run, seq), None);
                    }
                }
                Step::End(index, size) if !running.is_empty() => {
                    let (seq, run, what) = running.remove(index.index(running.len()));
                    let payload = Payload::Owned(vec![0; size]);
                    let answer = match what {
                        What::Business => Answer::Tentative(Status::BusinessError, payload),
                        What::Record => Answer::Unknown(String::new()),
                    };
                    if let Some((run, _)) = table.handle_finished(now, seq, run, answer) {
                        running.push((seq, run, What::Record));
                    }
                }
                Step::Ack(seq, bitmap) => {
                    let ack = Ack::new(Seq(seq), &bitmap);
                    table.handle_ack(ack);
                    watermark = watermark.max(Seq(seq));
                    acked.extend(ack.above());
                }
                Step::Cancel(seq) => table.handle_cancel(Seq(seq)),
                Step::Pass(millis) => {
                    now = now + Duration::from_millis(millis);
                    table.handle_timeout(now);
                }
                Step::Attach => table.handle_attached(),
                Step::End(..) => {}
            }
            while let Some(duty) = table.poll_duty() {
                let (seq, next) = match duty {
                    Duty::Abort(seq, run, _, handle) => {
                        prop_assert_eq!(handle, seq.0);
                        (seq, Some(run))
                    }
                    Duty::Forget(handle) => (Seq(handle), None),
                };
                running.retain(|(of, ..)| *of != seq);
                running.extend(next.map(|run| (seq, run, What::Record)));
            }
            prop_assert_eq!(table.watermark(), watermark);
            prop_assert!(table.running() <= 8, "no more run than may");
            prop_assert!(table.slots() <= WINDOW as usize, "no more is kept than the window");
            prop_assert!(table.held() <= 100 + 80, "no more bytes, but for the latest response");
            sent(&mut table);
        }
    }
}
