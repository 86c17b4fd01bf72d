//! What a server sends after the handshake: responses, pongs, and the wish that clients move on.

use std::time::Duration;

use super::frame::{Head, ShortHead, put_frame};
use super::request::read_seq;
use super::varint::Sink as _;
use super::{Reader, WireError, varint};
use crate::id::{Attempt, Seq};
use crate::store::{AbortReason, Refusal};

/// Frame kinds of the server, in the low three bits of a frame's first byte.
pub(crate) mod kind {
    pub(crate) const WELCOME: u8 = 0;
    pub(crate) const RESPONSE: u8 = 1;
    pub(crate) const GO_AWAY: u8 = 2;
    pub(crate) const PONG: u8 = 3;
    pub(crate) const REJECT: u8 = 4;
    pub(crate) const MASK: u8 = 0b111;
}

const RESEND: u8 = 1 << 3;
const COMMITTED: u8 = 1 << 4;
const HAS_ATTEMPT: u8 = 1 << 5;
const HAS_TIME: u8 = 1 << 6;
const HAS_STATUS: u8 = 1 << 7;

/// The longest explanation that travels with a refusal, in bytes: enough for one clear line.
pub(crate) const MAX_MESSAGE: usize = 512;

/// A response's header; the payload follows to the end of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHeader {
    pub(crate) seq: Seq,
    /// Which send of the call this answers; on the wire only if it is not the first.
    pub(crate) attempt: Attempt,
    /// The response's own retry bit: it was sent before.
    pub(crate) resend: bool,
    /// The outcome is recorded in the store: every attempt gets the same.
    pub(crate) committed: bool,
    pub(crate) status: Status,
    /// How long the server had the call; on the wire only from [`MIN_SERVER_TIME`] on.
    pub(crate) server_time: Duration,
}

/// Server times below this are not sent: they change no time-out.
pub(crate) const MIN_SERVER_TIME: Duration = Duration::from_micros(MIN_SERVER_MICROS);
pub(crate) const MIN_SERVER_MICROS: u64 = 100;

/// What a response says. A plain success needs no byte of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The payload is the result.
    Success,
    /// The payload is the business's error.
    BusinessError,
    /// The call is running; no outcome yet.
    InProgress,
    /// The call was ended before it took effect; recorded.
    Aborted(AbortReason),
    /// This attempt was not run; the payload says why, as text.
    Refused(RefusalReason),
    /// The id is not to be executed, now or ever.
    Never(Refusal),
    /// The store did not say whether the commit happened; ask again. The payload says why.
    Unknown,
}

/// Why a server did not run one attempt of a call. It speaks only for that attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The server has as much to do as its limits allow.
    Overloaded,
    /// The server is being shut down.
    ShuttingDown,
    /// The server's store cannot be reached, or has failed.
    StoreUnavailable,
    /// The arguments do not decode.
    BadArguments,
    /// The business panicked, or asked the store for what cannot be.
    Failed,
    /// The result or a document is larger than the limit.
    TooLarge,
    /// The deadline passed before the attempt took effect (reads and plain calls).
    Deadline,
    /// The caller cancelled (reads and plain calls).
    Cancelled,
}

impl RefusalReason {
    /// Whether another attempt, later or elsewhere, may fare better.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            RefusalReason::Overloaded
                | RefusalReason::ShuttingDown
                | RefusalReason::StoreUnavailable
        )
    }
}

/// A frame from a server, after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerFrame<'a> {
    Response(ResponseHeader, &'a [u8]),
    /// Send no new calls here; what runs is finished.
    GoAway,
    Pong,
}

impl Status {
    fn code(self) -> u8 {
        match self {
            Status::Success => 0,
            Status::BusinessError => 1,
            Status::InProgress => 2,
            Status::Unknown => 3,
            Status::Aborted(reason) => match reason {
                AbortReason::Deadline => 16,
                AbortReason::Cancelled => 17,
                AbortReason::Failed => 18,
            },
            Status::Never(refusal) => match refusal {
                Refusal::Stale => 32,
                Refusal::IdReused => 33,
                Refusal::Fenced => 34,
                Refusal::SessionClosed => 35,
            },
            Status::Refused(reason) => match reason {
                RefusalReason::Overloaded => 64,
                RefusalReason::ShuttingDown => 65,
                RefusalReason::StoreUnavailable => 66,
                RefusalReason::BadArguments => 67,
                RefusalReason::Failed => 68,
                RefusalReason::TooLarge => 69,
                RefusalReason::Deadline => 70,
                RefusalReason::Cancelled => 71,
            },
        }
    }

    fn from_code(code: u8) -> Result<Status, WireError> {
        Ok(match code {
            1 => Status::BusinessError,
            2 => Status::InProgress,
            3 => Status::Unknown,
            16 => Status::Aborted(AbortReason::Deadline),
            17 => Status::Aborted(AbortReason::Cancelled),
            18 => Status::Aborted(AbortReason::Failed),
            32 => Status::Never(Refusal::Stale),
            33 => Status::Never(Refusal::IdReused),
            34 => Status::Never(Refusal::Fenced),
            35 => Status::Never(Refusal::SessionClosed),
            64 => Status::Refused(RefusalReason::Overloaded),
            65 => Status::Refused(RefusalReason::ShuttingDown),
            66 => Status::Refused(RefusalReason::StoreUnavailable),
            67 => Status::Refused(RefusalReason::BadArguments),
            68 => Status::Refused(RefusalReason::Failed),
            69 => Status::Refused(RefusalReason::TooLarge),
            70 => Status::Refused(RefusalReason::Deadline),
            71 => Status::Refused(RefusalReason::Cancelled),
            _ => return Err(WireError::UnknownValue("status")),
        })
    }
}

impl ResponseHeader {
    /// Appends the whole frame.
    pub(crate) fn put(&self, payload: &[u8], out: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let has_time = self.server_time >= MIN_SERVER_TIME;
        let mut head = Head::new();
        head.byte(
            kind::RESPONSE
                | flag(self.resend, RESEND)
                | flag(self.committed, COMMITTED)
                | flag(self.attempt.is_retry(), HAS_ATTEMPT)
                | flag(has_time, HAS_TIME)
                | flag(self.status != Status::Success, HAS_STATUS),
        );
        varint::put(self.seq.0, &mut head);
        if self.attempt.is_retry() {
            varint::put(u64::from(self.attempt.0), &mut head);
        }
        if self.status != Status::Success {
            head.byte(self.status.code());
        }
        if has_time {
            let micros = self.server_time.as_micros();
            varint::put(u64::try_from(micros).unwrap_or(u64::MAX), &mut head);
        }
        head.put(payload, out);
    }
}

/// Appends the whole frame of a success that answers a first send soon, if it is short; else appends
/// nothing.
#[inline]
pub(crate) fn put_usual(seq: Seq, committed: bool, value: &[u8], out: &mut Vec<u8>) -> bool {
    let mut head = ShortHead::new(kind::RESPONSE | if committed { COMMITTED } else { 0 });
    head.varint(seq.0) && head.put(value, out)
}

impl<'a> ServerFrame<'a> {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            ServerFrame::Response(header, payload) => header.put(payload, out),
            ServerFrame::GoAway => put_frame(out, |out| out.push(kind::GO_AWAY)),
            ServerFrame::Pong => put_frame(out, |out| out.push(kind::PONG)),
        }
    }

    #[inline]
    pub(crate) fn decode(body: &'a [u8]) -> Result<ServerFrame<'a>, WireError> {
        let mut reader = Reader::new(body);
        let first = reader.byte("frame kind")?;
        if first & kind::MASK == kind::RESPONSE {
            return decode_response(first, reader);
        }
        let frame = match first {
            kind::GO_AWAY => ServerFrame::GoAway,
            kind::PONG => ServerFrame::Pong,
            kind::WELCOME | kind::REJECT => return Err(WireError::OutOfPlace(first)),
            unknown => return Err(WireError::UnknownFrame(unknown)),
        };
        reader.end()?;
        Ok(frame)
    }
}

#[inline]
fn decode_response<'a>(first: u8, mut reader: Reader<'a>) -> Result<ServerFrame<'a>, WireError> {
    let seq = read_seq(&mut reader)?;
    let attempt = if first & HAS_ATTEMPT == 0 {
        Attempt::FIRST
    } else {
        match Attempt(reader.u32("attempt")?) {
            attempt if attempt.is_retry() => attempt,
            _ => return Err(WireError::BadInteger("attempt")),
        }
    };
    let status = if first & HAS_STATUS == 0 {
        Status::Success
    } else {
        Status::from_code(reader.byte("status")?)?
    };
    let server_time = if first & HAS_TIME == 0 {
        Duration::ZERO
    } else {
        Duration::from_micros(reader.u64("server time")?)
    };
    let header = ResponseHeader {
        seq,
        attempt,
        resend: first & RESEND != 0,
        committed: first & COMMITTED != 0,
        status,
        server_time,
    };
    Ok(ServerFrame::Response(header, reader.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_round_trips() {
        let known: Vec<Status> =
            (1..=u8::MAX).filter_map(|code| Status::from_code(code).ok()).collect();
        assert_eq!(known.len(), 18);
        for status in known.into_iter().chain([Status::Success]) {
            let header = ResponseHeader {
                seq: Seq(77),
                attempt: Attempt(3),
                resend: true,
                committed: true,
                status,
                server_time: Duration::from_micros(1500),
            };
            let mut out = Vec::new();
            header.put(b"payload", &mut out);
            let decoded = ServerFrame::decode(&out[1..]).unwrap();
            assert_eq!(decoded, ServerFrame::Response(header, b"payload"));
            for cut in 1..out.len() - 1 {
                let _never_panics = ServerFrame::decode(&out[1..cut]);
            }
        }
    }

    #[test]
    fn a_usual_response_is_as_any() {
        for (seq, size) in [(1, 0), (5_000_000, 90), (1 << 40, 90), (9, 500)] {
            for committed in [false, true] {
                let (seq, value) = (Seq(seq), vec![7; size]);
                let header = ResponseHeader {
                    seq,
                    attempt: Attempt::FIRST,
                    resend: false,
                    committed,
                    status: Status::Success,
                    server_time: Duration::from_micros(MIN_SERVER_MICROS - 1),
                };
                let (mut any, mut usual) = (Vec::new(), Vec::new());
                header.put(&value, &mut any);
                if put_usual(seq, committed, &value, &mut usual) {
                    assert_eq!(usual, any);
                } else {
                    assert!(usual.is_empty() && (size > 100 || seq.0 > 1 << 28));
                }
            }
        }
    }

    #[test]
    fn lone_frames_round_trip() {
        for frame in [ServerFrame::GoAway, ServerFrame::Pong] {
            let mut out = Vec::new();
            frame.put(&mut out);
            assert_eq!(ServerFrame::decode(&out[1..]), Ok(frame));
        }
    }

    #[test]
    fn only_trouble_of_a_server_passes() {
        let reasons = (64..=71).map(|code| match Status::from_code(code) {
            Ok(Status::Refused(reason)) => reason,
            other => panic!("{other:?}"),
        });
        let passing: Vec<_> = reasons.filter(|reason| reason.is_passing()).collect();
        assert_eq!(
            passing,
            [
                RefusalReason::Overloaded,
                RefusalReason::ShuttingDown,
                RefusalReason::StoreUnavailable
            ]
        );
    }

    #[test]
    fn a_first_attempt_is_not_written_out() {
        let header = ResponseHeader {
            seq: Seq(77),
            attempt: Attempt(2),
            resend: false,
            committed: false,
            status: Status::Success,
            server_time: Duration::ZERO,
        };
        let mut out = Vec::new();
        header.put(b"", &mut out);
        let place = out.iter().rposition(|byte| *byte == 2).expect("the attempt");
        out[place] = 1;
        let prefix = out.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let decoded = ServerFrame::decode(&out[prefix..]);
        assert_eq!(decoded, Err(WireError::BadInteger("attempt")));
    }
}
