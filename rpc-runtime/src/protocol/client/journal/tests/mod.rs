//! The client with a journal alone: one rule per test.
//!
//! | file | whose rules |
//! | --- | --- |
//! | `mod.rs` | what is written before what, and what the next life does |
//! | `deadlines.rs` | what a deadline means |
//! | `named.rs` | calls with names |
//! | `rows.rs` | rows that do not fit |

mod deadlines;
mod named;
mod rows;

use std::task::{Poll, Waker};
use std::time::Duration;

use super::super::{ClientConfig, Core, EndpointId, Event, NotStarted, Restored, StartError};
use super::{AHEAD, CallOutcome, Settled};
use crate::error::{NotExecuted, Unknown};
use crate::id::{Attempt, CallId, ClientId, Incarnation, MethodId, Seq, SessionId, SessionSecret};
use crate::journal::Change;
use crate::schema::Schema;
use crate::service::{Kind, MethodSchema, ServiceSchema};
use crate::time::Time;
use crate::wire::handshake::{Hello, Welcome};
use crate::wire::request::ClientFrame;
use crate::wire::response::{ResponseHeader, ServerFrame, Status};

const SERVER: EndpointId = EndpointId(0);
const CLIENT: ClientId = ClientId(7);
const SECRET: SessionSecret = SessionSecret([7; 16]);
const PAY: MethodId = MethodId(0);
const LOOK: MethodId = MethodId(1);
const DEADLINE: Duration = Duration::from_secs(5);

fn schema() -> ServiceSchema {
    let method = |id: MethodId, name, kind| {
        MethodSchema::new(id.0, name, kind, &[], u64::describe, <()>::describe)
    };
    let methods = vec![method(PAY, "pay", Kind::Write), method(LOOK, "look", Kind::Read)];
    ServiceSchema { name: "Till", methods }
}

type Rows = Vec<(u64, Vec<u8>)>;

/// A client, one server played by hand, and the rows as they are on the disk.
struct Life {
    core: Core,
    now: Time,
    rows: Rows,
}

impl Life {
    /// The life of a client that begins with these rows.
    fn begin(rows: Rows, config: ClientConfig, now: Time) -> Life {
        let (restored, changes) = Restored::from_rows(rows.clone(), &schema()).unwrap();
        let mut core = Core::new(config, schema(), vec!["server".to_owned()], 1);
        core.restore(restored);
        let mut life = Life { core, now, rows };
        life.apply(changes);
        life.core.handle_timeout(now);
        life.core.handle_connected(now, SERVER);
        life
    }

    /// The first life, with its session written down.
    fn first() -> Life {
        let mut life = Life::begin(Vec::new(), ClientConfig::default(), Time(1));
        life.welcome(Incarnation::FIRST);
        life.write();
        life.sent();
        life
    }

    /// The client dies, and comes back with what is on the disk, and welcomed.
    fn next(self) -> Life {
        let mut life = Life::begin(self.rows, ClientConfig::default(), self.now);
        let hello = life.frames();
        let session = Hello::decode(&hello[0]).unwrap().session;
        let (id, secret) = session.expect("it goes on with its session");
        assert_eq!(secret, SECRET);
        life.welcome(id.incarnation);
        life
    }

    fn welcome(&mut self, incarnation: Incarnation) {
        let session = SessionId { client: CLIENT, incarnation };
        let mut bytes = Vec::new();
        let lease = Duration::from_secs(3600);
        Welcome { session, secret: SECRET, lease, window: 1024, max_frame: 1 << 20 }
            .put(&mut bytes);
        self.core.handle_bytes(self.now, SERVER, &bytes).unwrap();
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for Change { key, value } in changes {
            self.rows.retain(|(known, _)| *known != key);
            self.rows.extend(value.map(|value| (key, value)));
        }
    }

    /// What there is to write is written. Returns whether there was anything.
    fn write(&mut self) -> bool {
        let Some(changes) = self.core.poll_journal() else { return false };
        self.apply(changes);
        self.core.handle_journalled(self.now);
        true
    }

    fn pay(&mut self) -> Seq {
        self.start(PAY, Kind::Write).unwrap()
    }

    fn start(&mut self, method: MethodId, kind: Kind) -> Result<Seq, StartError> {
        let deadline = self.now + DEADLINE;
        let arguments = b"args".to_vec();
        self.core.start(self.now, method, kind, None, deadline, arguments, Waker::noop())
    }

    fn named(&mut self, name: &str, arguments: &[u8]) -> Result<Seq, NotStarted> {
        let (deadline, arguments) = (self.now + DEADLINE, arguments.to_vec());
        let (kind, waker) = (Kind::Write, Waker::noop());
        self.core.start_named(self.now, name, PAY, kind, None, deadline, arguments, waker)
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        self.core.poll_transmit(SERVER, &mut bytes);
        super::super::pair_tests::cut(&bytes)
    }

    /// The requests that were sent: number, attempt, and whether it is only to be settled.
    fn sent(&mut self) -> Vec<(u64, u32, bool)> {
        let frames = self.frames();
        let request = |frame: &Vec<u8>| match ClientFrame::decode(frame) {
            Ok(ClientFrame::Request(header, _)) => {
                Some((header.seq.0, header.attempt.0, header.settle))
            }
            _ => None,
        };
        frames.iter().filter_map(request).collect()
    }

    fn answer(&mut self, seq: Seq, attempt: u32, status: Status) {
        let (attempt, server_time) = (Attempt(attempt), Duration::ZERO);
        let header =
            ResponseHeader { seq, attempt, resend: false, committed: true, status, server_time };
        let mut bytes = Vec::new();
        ServerFrame::Response(header, b"result").put(&mut bytes);
        self.core.handle_bytes(self.now, SERVER, &bytes).unwrap();
    }

    /// The server shows that it lives.
    fn pong(&mut self) {
        let mut bytes = Vec::new();
        ServerFrame::Pong.put(&mut bytes);
        self.core.handle_bytes(self.now, SERVER, &bytes).unwrap();
    }

    fn told(&mut self, seq: Seq) -> Option<CallOutcome> {
        match self.core.poll_call(seq, Waker::noop()) {
            Poll::Ready(Settled { outcome, .. }) => Some(outcome),
            Poll::Pending => None,
        }
    }

    fn watermark(&self) -> Seq {
        self.core.ring.watermark()
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.core.handle_timeout(self.now);
    }
}

#[test]
fn nothing_is_sent_and_nothing_told_before_it_is_written_down() {
    let mut life = Life::begin(Vec::new(), ClientConfig::default(), Time(1));
    life.welcome(Incarnation::FIRST);
    let seq = life.pay();
    life.frames();
    assert!(!life.core.is_up(), "the session is not written down");
    assert!(life.write());
    assert!(life.core.is_up());
    assert_eq!(life.sent(), [(1, 1, false)]);
    life.answer(seq, 1, Status::Success);
    assert_eq!((life.told(seq), life.watermark()), (None, seq));
    assert!(life.write());
    assert_eq!((life.told(seq), life.watermark()), (Some(CallOutcome::Success), seq.next()));
    assert!(life.write(), "its row goes");
    assert_eq!(life.rows.len(), 1, "only the client's own is left");
    assert!(!life.write(), "nothing is left to write");
}

#[test]
fn one_batch_has_all_that_waits_and_is_told_of_once() {
    let mut life = Life::first();
    std::iter::from_fn(|| life.core.poll_event()).count();
    for _ in 0..3 {
        life.pay();
    }
    let events: Vec<Event> = std::iter::from_fn(|| life.core.poll_event()).collect();
    assert_eq!(events, [Event::Journal]);
    let changes = life.core.poll_journal().unwrap();
    assert_eq!(changes.len(), 4, "three calls, and the numbers after them");
    life.pay();
    assert!(life.core.poll_journal().is_none(), "one batch at a time");
    life.apply(changes);
    life.core.handle_journalled(life.now);
    assert_eq!(life.sent().len(), 3);
    assert!(life.write());
    assert_eq!(life.sent().len(), 1);
    life.answer(Seq(1), 1, Status::Success);
    assert_eq!(life.core.poll_journal().unwrap().len(), 1, "no number is new");
}

#[test]
fn the_next_life_sends_what_is_open_under_its_number_with_a_higher_attempt() {
    let mut life = Life::first();
    let [first, second] = [life.pay(), life.pay()];
    life.write();
    life.answer(first, 1, Status::Success);
    life.write();
    let mut life = life.next();
    assert_eq!(life.sent(), [(second.0, AHEAD + 1, false)]);
    assert_eq!(life.watermark(), second);
    let third = life.pay();
    assert_eq!(third, second.next(), "numbers go on");
    // What had ended was not told: it is there for who asks.
    let (id, deadline) = (CallId { client: CLIENT, seq: first }, life.now + DEADLINE);
    let asked = life.core.ask_again(life.now, id, PAY, deadline, b"args", Waker::noop());
    assert_eq!(asked.unwrap_err().outcome, CallOutcome::Success);
    life.answer(second, AHEAD + 1, Status::Success);
    life.write();
    assert_eq!(life.watermark(), third);
}

#[test]
fn each_life_is_a_higher_incarnation_and_attempts_never_repeat() {
    let mut life = Life::first();
    life.pay();
    life.write();
    for (incarnation, attempt) in [(2, AHEAD + 1), (3, 2 * AHEAD + 1)] {
        life = Life::begin(life.rows, ClientConfig::default(), life.now);
        let hello = Hello::decode(&life.frames()[0]).unwrap();
        assert_eq!(hello.session.unwrap().0.incarnation, Incarnation(incarnation));
        life.welcome(Incarnation(incarnation));
        assert_eq!(life.sent(), [(1, attempt, false)]);
    }
}

#[test]
fn attempts_beyond_what_is_written_down_wait_for_the_journal() {
    let mut life = Life::first();
    let seq = life.pay();
    life.write();
    life.core.ring.get_mut(seq).unwrap().attempts = AHEAD - 1;
    life.sent();
    let until = |life: &Life| life.core.ring.get(seq).unwrap().next_at.since(life.now);
    life.pass(until(&life));
    assert_eq!(life.sent(), [(1, AHEAD, false)]);
    life.pong();
    life.pass(until(&life));
    assert_eq!(life.sent(), [], "the next number is not written down");
    assert!(life.write());
    assert_eq!(life.sent(), [(1, AHEAD + 1, false)]);
}

#[test]
fn a_call_that_had_no_session_to_be_sent_in_is_as_good_as_new() {
    let mut life = Life::begin(Vec::new(), ClientConfig::default(), Time(1));
    life.pay();
    life.write();
    let mut life = Life::begin(life.rows, ClientConfig::default(), life.now);
    life.welcome(Incarnation::FIRST);
    life.write();
    assert_eq!(life.sent(), [(1, 1, false)]);
}

#[test]
fn a_full_journal_takes_no_more_writes() {
    let config = ClientConfig::default().max_journal_bytes(2 * super::ROW_BYTES + 8);
    let mut life = Life::begin(Vec::new(), config, Time(1));
    life.welcome(Incarnation::FIRST);
    let seq = life.pay();
    life.pay();
    let refused = life.start(PAY, Kind::Write);
    let Err(StartError::Refused(NotExecuted::JournalFull { limit })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(limit, 2 * super::ROW_BYTES + 8);
    life.write();
    life.answer(seq, 1, Status::Success);
    life.write();
    life.told(seq);
    assert!(life.start(PAY, Kind::Write).is_ok(), "there is room again");
}

#[test]
fn numbers_are_seen_to_while_half_of_them_are_left() {
    let mut life = Life::first();
    life.start(LOOK, Kind::Read).unwrap_err();
    life.write();
    for _ in 0..AHEAD / 2 {
        life.start(LOOK, Kind::Read).unwrap();
    }
    assert!(!life.write(), "half are left");
    life.start(LOOK, Kind::Read).unwrap();
    assert!(life.write());
}

#[test]
fn what_a_row_takes_is_its_call_and_a_little() {
    let bytes = |life: &Life| life.core.journal.as_ref().unwrap().bytes;
    let open = super::ROW_BYTES + b"args".len() + "invoice".len();
    for (limit, fits) in [(open, true), (open - 1, false)] {
        let config = ClientConfig::default().max_journal_bytes(limit);
        let mut life = Life::begin(Vec::new(), config, Time(1));
        assert_eq!(life.named("invoice", b"args").is_ok(), fits);
    }
    let mut life = Life::first();
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    assert_eq!(bytes(&life), open);
    let mut life = life.next();
    assert_eq!(bytes(&life), open);
    life.answer(seq, AHEAD + 1, Status::Success);
    life.write();
    let ended = super::ROW_BYTES + b"result".len();
    assert_eq!(bytes(&life), ended);
    assert_eq!(bytes(&life.next()), ended);
}

#[test]
fn an_end_that_nobody_waits_for_leaves_no_row() {
    let mut life = Life::first();
    let seq = life.pay();
    life.write();
    life.core.handle_dropped(seq);
    life.answer(seq, 1, Status::Success);
    life.write();
    assert_eq!(life.rows.len(), 1);
}

#[test]
fn no_second_session_is_opened_while_the_first_is_written_down() {
    let mut life = Life::begin(Vec::new(), ClientConfig::default(), Time(1));
    life.frames();
    life.welcome(Incarnation::FIRST);
    life.core.handle_disconnected(life.now, SERVER, "cut".to_owned());
    life.core.handle_connected(life.now, SERVER);
    assert!(life.frames().is_empty(), "it waits for the session");
    life.write();
    let hello = Hello::decode(&life.frames()[0]).unwrap();
    assert_eq!(hello.session.map(|(id, _)| id.client), Some(CLIENT));
}

#[test]
fn reads_wait_for_numbers_and_are_not_written_down() {
    let mut life = Life::first();
    assert!(matches!(life.start(LOOK, Kind::Read), Err(StartError::WindowFull(_))));
    life.write();
    for number in 1..=u64::from(AHEAD) {
        assert_eq!(life.start(LOOK, Kind::Read).unwrap(), Seq(number));
    }
    assert!(matches!(life.start(LOOK, Kind::Read), Err(StartError::WindowFull(_))));
    assert_eq!(life.rows.len(), 1);
    let mut life = life.next();
    life.start(LOOK, Kind::Read).unwrap_err();
    life.write();
    assert_eq!(life.start(LOOK, Kind::Read).unwrap(), Seq(u64::from(AHEAD) + 1));
}

#[test]
fn a_client_that_dies_again_and_again_uses_up_no_numbers() {
    let mut life = Life::first();
    life.pay();
    life.write();
    for _ in 0..10 {
        life = life.next();
    }
    assert_eq!(life.pay(), Seq(2));
}

#[test]
fn a_journal_that_fails_ends_the_client_and_acknowledges_nothing() {
    let mut life = Life::first();
    let [seq, unwritten] = [life.pay(), life.pay()];
    let read = life.start(LOOK, Kind::Read);
    assert!(matches!(read, Err(StartError::WindowFull(_))));
    life.core.poll_journal().unwrap();
    life.sent();
    life.core.handle_journal_failed("no room");
    for seq in [seq, unwritten] {
        let failed = Unknown::JournalFailed("no room".to_owned());
        assert_eq!(life.told(seq), Some(CallOutcome::unknown(failed)), "the next life has it");
    }
    let refused = life.start(PAY, Kind::Write);
    let failed = NotExecuted::JournalFailed("no room".to_owned());
    assert_eq!(refused, Err(StartError::Refused(failed)));
    life.pass(Duration::from_secs(60));
    assert!(life.frames().is_empty(), "nothing is sent any more");
    assert!(life.core.poll_journal().is_none());
}

#[test]
fn a_client_that_closes_leaves_what_is_open_to_its_next_life() {
    let mut life = Life::first();
    let seq = life.pay();
    life.write();
    life.sent();
    life.core.handle_close();
    assert_eq!(life.told(seq), Some(CallOutcome::unknown(Unknown::ClientClosed)));
    life.write();
    let mut life = life.next();
    assert_eq!(life.sent(), [(seq.0, AHEAD + 1, false)]);
}

/// Found by the simulation: a client whose journal has failed is closed, but its earlier life may
/// have sent the call.
#[test]
fn a_read_that_was_never_sent_is_not_executed_whatever_ends_the_client() {
    let mut life = Life::first();
    life.start(LOOK, Kind::Read).unwrap_err();
    life.write();
    life.core.handle_disconnected(life.now, SERVER, "cut".to_owned());
    let seq = life.start(LOOK, Kind::Read).unwrap();
    life.core.handle_close();
    let not_executed = CallOutcome::not_executed(NotExecuted::ClientClosed);
    assert_eq!(life.told(seq), Some(not_executed));
}

#[test]
fn a_call_of_an_earlier_life_is_asked_for_as_what_it_is() {
    let mut life = Life::first();
    let seq = life.pay();
    life.write();
    let mut life = life.next();
    assert_eq!(life.core.ring.complete_above(), 0);
    let (id, deadline) = (CallId { client: CLIENT, seq }, life.now + DEADLINE);
    let refused = CallOutcome::not_executed(NotExecuted::IdReused);
    for (method, arguments) in [(LOOK, &b"args"[..]), (PAY, b"other")] {
        let asked = life.core.ask_again(life.now, id, method, deadline, arguments, Waker::noop());
        assert_eq!(asked.unwrap_err().outcome, refused);
    }
    assert!(life.core.ask_again(life.now, id, PAY, deadline, b"args", Waker::noop()).is_ok());
}

#[test]
fn a_session_that_ends_ends_its_calls_in_the_journal_too() {
    let mut life = Life::first();
    let seq = life.named("invoice", b"args").unwrap();
    life.write();
    life.answer(seq, 1, Status::Never(crate::error::Refusal::SessionClosed));
    life.write();
    assert_eq!(life.told(seq), Some(CallOutcome::unknown(Unknown::SessionClosed)));
    let mut life = Life::begin(life.rows, ClientConfig::default(), life.now);
    let hello = Hello::decode(&life.frames()[0]).unwrap();
    assert_eq!(hello.session, None, "the next life does not ask for it");
    let Err(NotStarted::Settled(known)) = life.named("invoice", b"args") else {
        panic!("its name is not free: it may have been executed")
    };
    assert_eq!(known.outcome, CallOutcome::unknown(Unknown::SessionClosed));
}
