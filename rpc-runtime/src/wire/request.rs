//! What a client sends after the handshake: requests, acks, cancels, pings, goodbyes.

use std::time::Duration;

use super::ack::Ack;
use super::frame::{Head, ShortHead, put_frame};
use super::varint::Sink;
use super::{Reader, WireError, varint};
use crate::id::{Attempt, MethodId, Seq};
use crate::trace::TraceContext;

/// Frame kinds of the client, in the low three bits of a frame's first byte.
pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 0;
    pub(crate) const REQUEST: u8 = 1;
    pub(crate) const ACK: u8 = 2;
    pub(crate) const CANCEL: u8 = 3;
    pub(crate) const PING: u8 = 4;
    pub(crate) const BYE: u8 = 5;
    pub(crate) const MASK: u8 = 0b111;
}

const RETRY: u8 = 1 << 3;
const HAS_ACK: u8 = 1 << 4;
const HAS_DEADLINE: u8 = 1 << 5;
const HAS_TRACE: u8 = 1 << 6;
const SETTLE: u8 = 1 << 7;

/// A request's header; its encoded arguments follow to the end of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestHeader<'a> {
    pub(crate) seq: Seq,
    /// On the wire only if it is not the first: the retry bit says that it is there.
    pub(crate) attempt: Attempt,
    /// How long ago the call was first sent; on the wire only with the retry bit. Conflicts between
    /// calls are decided by age, so that a call that keeps losing wins in the end.
    pub(crate) age: Duration,
    pub(crate) method: MethodId,
    pub(crate) ack: Option<Ack<'a>>,
    /// What is left of the call's time. Absent: the deadline that the hello named.
    pub(crate) deadline: Option<Duration>,
    pub(crate) trace: Option<TraceContext>,
    /// Do not run the business: say how the call ended, and if it did not end, end it.
    pub(crate) settle: bool,
}

/// A frame from a client, after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientFrame<'a> {
    Request(RequestHeader<'a>, &'a [u8]),
    Ack(Ack<'a>),
    /// Nobody waits for this call any more.
    Cancel(Seq),
    /// Anything back will do.
    Ping,
    /// The session is over: the client will never ask for any of its calls again.
    Bye,
}

impl RequestHeader<'_> {
    /// Appends the whole frame.
    pub(crate) fn put(&self, arguments: &[u8], out: &mut Vec<u8>) {
        if self.ack.is_some_and(|ack| ack.has_bitmap()) {
            return put_frame(out, |out| {
                self.put_head(out);
                out.extend_from_slice(arguments);
            });
        }
        let mut head = Head::new();
        self.put_head(&mut head);
        head.put(arguments, out);
    }

    #[inline]
    fn put_head(&self, out: &mut impl Sink) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.byte(
            kind::REQUEST
                | flag(self.attempt.is_retry(), RETRY)
                | flag(self.ack.is_some(), HAS_ACK)
                | flag(self.deadline.is_some(), HAS_DEADLINE)
                | flag(self.trace.is_some(), HAS_TRACE)
                | flag(self.settle, SETTLE),
        );
        varint::put(self.seq.0, out);
        if self.attempt.is_retry() {
            varint::put(u64::from(self.attempt.0), out);
            varint::put(u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX), out);
        }
        varint::put(u64::from(self.method.0), out);
        if let Some(ack) = self.ack {
            ack.put_beside(self.seq, out);
        }
        if let Some(deadline) = self.deadline {
            varint::put(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX), out);
        }
        if let Some(trace) = self.trace {
            out.bytes(&trace.to_bytes());
        }
    }
}

/// Appends the whole frame of a first send that says nothing but its number, its method, up to which
/// call the client has its answers, and its arguments, if it is short; else appends nothing.
#[inline]
pub(crate) fn put_usual(
    seq: Seq,
    method: MethodId,
    watermark: Option<Seq>,
    arguments: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let mut head = ShortHead::new(kind::REQUEST | if watermark.is_some() { HAS_ACK } else { 0 });
    head.varint(seq.0)
        && head.small(method.0.into())
        && watermark.is_none_or(|watermark| head.small(Ack::new(watermark, &[]).beside(seq)))
        && head.put(arguments, out)
}

impl<'a> ClientFrame<'a> {
    /// Appends the whole frame of anything but a request.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            ClientFrame::Request(header, arguments) => header.put(arguments, out),
            ClientFrame::Ack(ack) => put_frame(out, |out| {
                out.push(kind::ACK);
                ack.put_alone(out);
            }),
            ClientFrame::Cancel(seq) => put_frame(out, |out| {
                out.push(kind::CANCEL);
                varint::put(seq.0, out);
            }),
            ClientFrame::Ping => put_frame(out, |out| out.push(kind::PING)),
            ClientFrame::Bye => put_frame(out, |out| out.push(kind::BYE)),
        }
    }

    // Decoded in one place, and taken apart there at once: it never need lie in memory.
    #[inline(always)]
    pub(crate) fn decode(body: &'a [u8]) -> Result<ClientFrame<'a>, WireError> {
        let mut reader = Reader::new(body);
        let first = reader.byte("frame kind")?;
        if first & kind::MASK == kind::REQUEST {
            return decode_request(first, reader);
        }
        let frame = match first {
            kind::ACK => ClientFrame::Ack(Ack::read_alone(&mut reader)?),
            kind::CANCEL => ClientFrame::Cancel(read_seq(&mut reader)?),
            kind::PING => ClientFrame::Ping,
            kind::BYE => ClientFrame::Bye,
            kind::HELLO => return Err(WireError::OutOfPlace(kind::HELLO)),
            unknown => return Err(WireError::UnknownFrame(unknown)),
        };
        reader.end()?;
        Ok(frame)
    }
}

#[inline(always)]
fn decode_request<'a>(first: u8, mut reader: Reader<'a>) -> Result<ClientFrame<'a>, WireError> {
    let seq = read_seq(&mut reader)?;
    let (attempt, age) = if first & RETRY == 0 {
        (Attempt::FIRST, Duration::ZERO)
    } else {
        match Attempt(reader.u32("attempt")?) {
            attempt if attempt.is_retry() => (attempt, Duration::from_millis(reader.u64("age")?)),
            _ => return Err(WireError::BadInteger("attempt")),
        }
    };
    let method = MethodId(reader.u16("method")?);
    let ack = if first & HAS_ACK == 0 { None } else { Some(Ack::read_beside(seq, &mut reader)?) };
    let deadline = if first & HAS_DEADLINE == 0 {
        None
    } else {
        Some(Duration::from_millis(reader.u64("deadline")?))
    };
    let trace = if first & HAS_TRACE == 0 {
        None
    } else {
        Some(TraceContext::from_bytes(reader.array("trace context")?))
    };
    let settle = first & SETTLE != 0;
    let header = RequestHeader { seq, attempt, age, method, ack, deadline, trace, settle };
    Ok(ClientFrame::Request(header, reader.rest()))
}

#[inline(always)]
pub(super) fn read_seq(reader: &mut Reader<'_>) -> Result<Seq, WireError> {
    match reader.u64("sequence number")? {
        0 => Err(WireError::BadInteger("sequence number")),
        seq => Ok(Seq(seq)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(frame: ClientFrame<'_>) {
        let mut out = Vec::new();
        frame.put(&mut out);
        assert_eq!(usize::from(out[0]), out.len() - 1);
        assert_eq!(ClientFrame::decode(&out[1..]).unwrap(), frame);
        for cut in 1..out.len() - 1 {
            let _never_panics = ClientFrame::decode(&out[1..cut]);
        }
    }

    #[test]
    fn frames_round_trip() {
        let plain = RequestHeader {
            seq: Seq(1),
            attempt: Attempt::FIRST,
            age: Duration::ZERO,
            method: MethodId(0),
            ack: None,
            deadline: None,
            trace: None,
            settle: false,
        };
        round_trip(ClientFrame::Request(plain, b""));
        let full = RequestHeader {
            seq: Seq(u64::MAX),
            attempt: Attempt(7),
            age: Duration::from_millis(900),
            method: MethodId(300),
            ack: Some(Ack::new(Seq(u64::MAX - 9), &[3])),
            deadline: Some(Duration::from_millis(12_345)),
            trace: Some(TraceContext::from_bytes([9; 25])),
            settle: true,
        };
        round_trip(ClientFrame::Request(full, b"arguments"));
        round_trip(ClientFrame::Ack(Ack::new(Seq(5), &[])));
        round_trip(ClientFrame::Cancel(Seq(5)));
        round_trip(ClientFrame::Ping);
        round_trip(ClientFrame::Bye);
    }

    #[test]
    fn a_usual_request_is_as_any() {
        let usual = [(1, 0, 0), (5_000_000, 3, 90), (9, 0x7f, 90)];
        let unusual = [(1 << 40, 3, 90), (9, 0x80, 90), (9, 9, 500)];
        let in_flight = [None, Some(0), Some(8), Some(63), Some(64)];
        for (seq, method, size) in usual.into_iter().chain(unusual) {
            for in_flight in in_flight.into_iter().filter(|known| known.is_none_or(|n| n < seq)) {
                let (seq, method, arguments) = (Seq(seq), MethodId(method), vec![7; size]);
                let watermark = in_flight.map(|in_flight| Seq(seq.0 - in_flight));
                let header = RequestHeader {
                    seq,
                    attempt: Attempt::FIRST,
                    age: Duration::ZERO,
                    method,
                    ack: watermark.map(|watermark| Ack::new(watermark, &[])),
                    deadline: None,
                    trace: None,
                    settle: false,
                };
                let (mut any, mut short) = (Vec::new(), Vec::new());
                header.put(&arguments, &mut any);
                if put_usual(seq, method, watermark, &arguments, &mut short) {
                    assert_eq!(short, any);
                } else {
                    let is_long = size > 100 || seq.0 > 1 << 28 || method.0 >= 0x80;
                    assert!(short.is_empty() && (is_long || in_flight == Some(64)));
                }
            }
        }
    }

    #[test]
    fn out_of_place_and_unknown_frames_are_refused() {
        assert_eq!(ClientFrame::decode(&[0]), Err(WireError::OutOfPlace(0)));
        assert_eq!(ClientFrame::decode(&[7]), Err(WireError::UnknownFrame(7)));
        assert_eq!(ClientFrame::decode(&[kind::PING, 0]), Err(WireError::TrailingBytes));
        let retry_bit_on_a_first_attempt = [kind::REQUEST | RETRY, 1, 1, 0, 0];
        assert!(ClientFrame::decode(&retry_bit_on_a_first_attempt).is_err());
    }
}
