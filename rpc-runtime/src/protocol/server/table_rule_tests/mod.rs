//! The rules of a table, one test each.

mod deadlines;
mod keeping;
mod retries;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::table_tests::{NOW, WINDOW, request, run, sent, table};
use super::{Admission, Answer, CallTable, Duty, Incoming, Payload, RunNumber, TableLimits};
use crate::id::{ArgumentHash, Attempt, CallId, Identity, Seq, SessionId, SessionSecret};
use crate::service::Kind;
use crate::store::{
    AbortReason, CallRef, Commit, CommitOutcome, Committed, Lease, MemoryStore, Outcome, Refusal,
    Store as _, StoreFuture,
};
use crate::time::{Time, WallTime};
use crate::wire::ack::Ack;
use crate::wire::frame::FrameDecoder;
use crate::wire::response::{MAX_MESSAGE, RefusalReason, ServerFrame, Status};

/// The deadline of every request of these tests.
const DEADLINE: Time = Time(NOW.0 + 1_000_000);

fn read(seq: u64, attempt: u32) -> Incoming {
    Incoming { kind: Kind::Read, ..request(seq, attempt) }
}

fn admit(table: &mut CallTable<u64>, request: &Incoming) -> RunNumber {
    match table.handle_request(NOW, request) {
        Admission::Run(run) => run,
        other => panic!("it runs, and is not {other:?}"),
    }
}

/// Lets a call begin, so far that it can be stopped.
fn run_started(table: &mut CallTable<u64>, seq: u64) -> RunNumber {
    let run = run(table, seq);
    assert_eq!(table.handle_started(Seq(seq), run, seq), None);
    run
}

/// Ends a run whose outcome need not be recorded first.
fn end(table: &mut CallTable<u64>, seq: u64, run: RunNumber, answer: Answer) {
    assert_eq!(table.handle_finished(NOW, Seq(seq), run, answer), None);
}

fn tentative(bytes: &[u8]) -> Answer {
    Answer::Tentative(Status::Success, Payload::Owned(bytes.to_vec()))
}

/// Runs a call to its end, which needs no record.
fn done(table: &mut CallTable<u64>, seq: u64, bytes: &[u8]) {
    let run = run(table, seq);
    end(table, seq, run, tentative(bytes));
}

fn at_once<T>(future: StoreFuture<'_, T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a memory store never waits"),
    }
}

/// This result as a store holds it.
fn committed(result: Outcome) -> Committed<Outcome> {
    let store = MemoryStore::new();
    let lease = Lease { until: WallTime(1) };
    let identity = Identity::named("client");
    let opened = store.open_session(&identity, SessionSecret([0; 16]), lease);
    let SessionId { client, incarnation } = at_once(opened).unwrap();
    let call = CallRef {
        id: CallId { client, seq: Seq::FIRST },
        incarnation,
        attempt: Attempt::FIRST,
        born: WallTime(0),
        hash: ArgumentHash(1),
        anchor: None,
        watermark: Seq::FIRST,
    };
    let commit = Commit { call, reads: Vec::new(), writes: Vec::new(), result };
    match at_once(store.commit(commit)).unwrap() {
        CommitOutcome::Committed(outcome) => outcome,
        other => panic!("it is new, and not {other:?}"),
    }
}

/// The payloads of what the table has sent since.
fn payloads(table: &mut CallTable<u64>) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    table.poll_transmit(&mut bytes);
    let mut decoder = FrameDecoder::new(1 << 20);
    let (mut input, mut payloads) = (&bytes[..], Vec::new());
    loop {
        let mut finished = Vec::new();
        let Some(frame) = decoder.next(&mut input, &mut finished).unwrap() else { return payloads };
        if let ServerFrame::Response(_, payload) = ServerFrame::decode(frame).unwrap() {
            payloads.push(payload.to_vec());
        }
    }
}

/// The only answer since, of which only the status counts.
fn status(table: &mut CallTable<u64>) -> Status {
    let answers = sent(table);
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers[0].status
}

fn assert_silent(table: &mut CallTable<u64>, request: &Incoming) {
    assert!(matches!(table.handle_request(NOW, request), Admission::Handled));
}
