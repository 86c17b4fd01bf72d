//! What headers cost, measured, and compared with the table of `docs/protocol.md`.

use std::time::Duration;

use super::ack::Ack;
use super::request::{ClientFrame, RequestHeader};
use super::response::{ResponseHeader, Status};
use crate::id::{Attempt, MethodId, Seq};
use crate::trace::TraceContext;

const DOCS: &str = include_str!("../../../docs/protocol.md");
const MILLION: u64 = 1_000_000;
/// The last call of a session whose number takes five bytes: 34 billion.
const LAST_OF_FIVE_BYTES: u64 = (1 << 35) - 1;

/// A request without ack, deadline and trace.
fn request(seq: u64) -> RequestHeader<'static> {
    RequestHeader {
        seq: Seq(seq),
        attempt: Attempt::FIRST,
        age: Duration::ZERO,
        method: MethodId(3),
        ack: None,
        deadline: None,
        trace: None,
        settle: false,
    }
}

/// A request whose ack says that this many calls before it are in flight.
fn in_flight(seq: u64, calls: u64) -> RequestHeader<'static> {
    RequestHeader { ack: Some(Ack::new(Seq(seq - calls), &[])), ..request(seq) }
}

fn request_bytes(header: &RequestHeader<'_>, arguments: usize) -> usize {
    let mut out = Vec::new();
    header.put(&vec![0; arguments], &mut out);
    out.len() - arguments
}

fn ack_bytes(calls: u64) -> usize {
    let mut out = Vec::new();
    Ack::new(Seq(MILLION - calls), &[]).put_beside(Seq(MILLION), &mut out);
    out.len()
}

fn lone_ack_bytes(watermark: u64, bitmap: &[u8]) -> usize {
    let mut out = Vec::new();
    ClientFrame::Ack(Ack::new(Seq(watermark), bitmap)).put(&mut out);
    out.len()
}

fn response(seq: u64) -> ResponseHeader {
    ResponseHeader {
        seq: Seq(seq),
        attempt: Attempt::FIRST,
        resend: false,
        committed: true,
        status: Status::Success,
        server_time: Duration::ZERO,
    }
}

fn response_bytes(header: &ResponseHeader) -> usize {
    let mut out = Vec::new();
    header.put(&[0; 8], &mut out);
    out.len() - 8
}

/// Every row of the table, measured.
fn measured() -> Vec<(&'static str, usize)> {
    let deadline = Some(Duration::from_secs(600));
    let largest = RequestHeader { deadline, ..in_flight(LAST_OF_FIVE_BYTES, 8_191) };
    let retry = RequestHeader {
        attempt: Attempt(2),
        age: Duration::from_millis(1_200),
        ..in_flight(MILLION, 10)
    };
    let own_deadline =
        RequestHeader { deadline: Some(Duration::from_secs(2)), ..in_flight(MILLION, 10) };
    let traced =
        RequestHeader { trace: Some(TraceContext::from_bytes([0; 25])), ..in_flight(MILLION, 10) };
    let slow = ResponseHeader { server_time: Duration::from_millis(2), ..response(MILLION) };
    let error = ResponseHeader { status: Status::BusinessError, ..response(MILLION) };
    let resent = ResponseHeader { attempt: Attempt(2), resend: true, ..response(MILLION) };
    vec![
        ("request 1, with its ack", request_bytes(&in_flight(1, 0), 32)),
        ("request 1,000,000, nothing new to acknowledge", request_bytes(&request(MILLION), 32)),
        ("request 1,000,000, with its ack", request_bytes(&in_flight(MILLION, 10), 32)),
        (
            "request 1,000,000, with its ack and a deadline of its own (2 s)",
            request_bytes(&own_deadline, 32),
        ),
        (
            "request 1,000,000, with its ack, as a retry (attempt 2 after 1.2 s)",
            request_bytes(&retry, 32),
        ),
        (
            "a trace context, beside that",
            request_bytes(&traced, 32) - request_bytes(&in_flight(MILLION, 10), 32),
        ),
        (
            "largest request in order: call 2^35 − 1, 8,191 in flight, deadline 10 min, 4 MiB",
            request_bytes(&largest, (4 << 20) - 32),
        ),
        ("ack on a request, up to 63 calls in flight", ack_bytes(63)),
        ("ack on a request, up to 8,191 calls in flight", ack_bytes(8_191)),
        ("ack alone, watermark 1,000,000", lone_ack_bytes(MILLION, &[])),
        (
            "ack alone, watermark 1,000,000 and a bitmap over 64 calls",
            lone_ack_bytes(MILLION, &[0xff; 8]),
        ),
        ("response 1", response_bytes(&response(1))),
        ("response 1,000,000", response_bytes(&response(MILLION))),
        ("response 1,000,000, with the time in the server (2 ms)", response_bytes(&slow)),
        ("response 1,000,000, as a business error", response_bytes(&error)),
        ("response 1,000,000, as a re-send to attempt 2", response_bytes(&resent)),
    ]
}

/// The rows of the table in the documentation.
fn documented() -> Vec<(String, usize)> {
    let section = DOCS.split("### Header sizes").nth(1).expect("the section is there");
    let section = section.split("\n#").next().expect("a section has text");
    let rows = section.lines().filter_map(|line| {
        let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        let (header, bytes) = row.rsplit_once('|')?;
        Some((header.trim().to_owned(), bytes.trim().parse().ok()?))
    });
    rows.collect()
}

#[test]
fn the_documented_sizes_are_the_measured_ones() {
    let measured: Vec<(String, usize)> =
        measured().into_iter().map(|(header, bytes)| (header.to_owned(), bytes)).collect();
    let table: Vec<String> =
        measured.iter().map(|(header, bytes)| format!("| {header} | {bytes} |")).collect();
    assert_eq!(documented(), measured, "docs/protocol.md should say:\n{}", table.join("\n"));
}

#[test]
fn a_request_in_order_has_at_most_16_bytes_of_header_and_2_of_ack() {
    for (header, bytes) in measured() {
        if header.contains("request ") && !header.starts_with("ack") {
            assert!(bytes <= 16, "{header}: {bytes}");
        }
        if header.starts_with("ack on a request") {
            assert!(bytes <= 2, "{header}: {bytes}");
        }
    }
}
