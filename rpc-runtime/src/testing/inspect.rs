//! What a frame on the wire says, in public words.

use std::time::Duration;

use crate::error::{AbortReason, Refusal, RefusalReason, RejectReason};
use crate::id::{Attempt, MethodId, Seq, SessionId, SessionSecret};
use crate::wire::ack::Ack;
use crate::wire::frame::FrameDecoder;
use crate::wire::handshake::{Hello, decode_reply};
use crate::wire::request::{ClientFrame, RequestHeader, kind as client_kind};
use crate::wire::response::{ResponseHeader, ServerFrame, Status, kind as server_kind};
use crate::wire::{Reader, WireError};

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a client.
    ToServer,
    /// From a server.
    ToClient,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameView {
    /// A client's first frame.
    Hello {
        /// What it calls.
        service: String,
        /// The session that it goes on with.
        session: Option<SessionId>,
    },
    /// A server's yes.
    Welcome {
        /// The session.
        session: SessionId,
        /// What proves that one may speak for it.
        secret: SessionSecret,
    },
    /// A server's no.
    Reject {
        /// Why.
        reason: RejectReason,
        /// In words.
        message: String,
    },
    /// One send of a call.
    Request {
        /// Its number.
        seq: Seq,
        /// Which send it is; the retry bit is `attempt > 1`.
        attempt: Attempt,
        /// By the client's numbering.
        method: MethodId,
        /// The first call that is not acknowledged, if the frame says so.
        watermark: Option<Seq>,
        /// What is acknowledged above the watermark.
        acked_above: Vec<Seq>,
        /// What is left of its time, if the frame says so.
        deadline: Option<Duration>,
        /// Not to be run, only to be settled.
        settle: bool,
        /// The size of the header with the frame's length, in bytes.
        header_bytes: usize,
        /// The size of that part of the header that is the ack, in bytes.
        ack_bytes: usize,
    },
    /// An answer to one send of a call.
    Response {
        /// The call's number.
        seq: Seq,
        /// Which send it answers.
        attempt: Attempt,
        /// What it says.
        status: ResponseStatus,
        /// Whether the outcome is recorded.
        committed: bool,
        /// The response's own retry bit.
        resend: bool,
        /// The size of the header with the frame's length, in bytes.
        header_bytes: usize,
    },
    /// An ack on its own.
    Ack {
        /// The first call that is not acknowledged.
        watermark: Seq,
        /// What is acknowledged above it.
        acked_above: Vec<Seq>,
    },
    /// Nobody waits for this call any more.
    Cancel {
        /// Its number.
        seq: Seq,
    },
    /// Anything back will do.
    Ping,
    /// Something back.
    Pong,
    /// The session is over.
    Bye,
    /// Send no new calls here.
    GoAway,
}

/// What a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseStatus {
    /// The result.
    Success,
    /// The business's error.
    BusinessError,
    /// The call runs.
    InProgress,
    /// Ended before it took effect.
    Aborted(AbortReason),
    /// This attempt was not run.
    Refused(RefusalReason),
    /// Not executed, now or ever.
    Never(Refusal),
    /// The store did not say.
    Unknown,
}

/// Takes the first whole frame, with its length, off a buffer.
///
/// # Errors
/// If the bytes begin no frame of at most `max_frame` bytes.
pub fn cut(buffer: &mut Vec<u8>, max_frame: usize) -> Result<Option<Vec<u8>>, String> {
    let mut input = buffer.as_slice();
    let mut whole = Vec::new();
    let cut = FrameDecoder::new(max_frame).next(&mut input, &mut whole);
    match cut.map_err(|error| error.to_string())? {
        None => Ok(None),
        Some(_) => {
            let taken = buffer.len() - input.len();
            Ok(Some(buffer.drain(..taken).collect()))
        }
    }
}

/// Says what a whole frame, with its length, says.
///
/// # Errors
/// If it is no frame of this protocol.
pub fn inspect(frame: &[u8], direction: Direction) -> Result<FrameView, String> {
    let body = body_of(frame).map_err(|error| error.to_string())?;
    let view = match direction {
        Direction::ToServer => view_of_client_frame(frame, body),
        Direction::ToClient => view_of_server_frame(frame, body),
    };
    view.map_err(|error| error.to_string())
}

fn body_of(frame: &[u8]) -> Result<&[u8], WireError> {
    let mut reader = Reader::new(frame);
    let len = reader.u64("frame length")?;
    match reader.rest() {
        [] => Err(WireError::Truncated("frame")),
        body if body.len() as u64 == len => Ok(body),
        _ => Err(WireError::Truncated("frame")),
    }
}

fn view_of_client_frame(frame: &[u8], body: &[u8]) -> Result<FrameView, WireError> {
    if body[0] == client_kind::HELLO {
        let hello = Hello::decode(body)?;
        let session = hello.session.map(|(session, _)| session);
        return Ok(FrameView::Hello { service: hello.service, session });
    }
    Ok(match ClientFrame::decode(body)? {
        ClientFrame::Request(header, arguments) => {
            view_of_request(&header, frame.len() - arguments.len())
        }
        ClientFrame::Ack(ack) => {
            FrameView::Ack { watermark: ack.watermark, acked_above: ack.above().collect() }
        }
        ClientFrame::Cancel(seq) => FrameView::Cancel { seq },
        ClientFrame::Ping => FrameView::Ping,
        ClientFrame::Bye => FrameView::Bye,
    })
}

fn view_of_request(header: &RequestHeader<'_>, header_bytes: usize) -> FrameView {
    let ack_size = |ack: &Ack<'_>| {
        let mut out = Vec::new();
        ack.put_beside(header.seq, &mut out);
        out.len()
    };
    FrameView::Request {
        seq: header.seq,
        attempt: header.attempt,
        method: header.method,
        watermark: header.ack.map(|ack| ack.watermark),
        acked_above: header.ack.iter().flat_map(Ack::above).collect(),
        deadline: header.deadline,
        settle: header.settle,
        header_bytes,
        ack_bytes: header.ack.as_ref().map_or(0, ack_size),
    }
}

fn view_of_server_frame(frame: &[u8], body: &[u8]) -> Result<FrameView, WireError> {
    if body[0] == server_kind::WELCOME || body[0] == server_kind::REJECT {
        return Ok(match decode_reply(body)? {
            Ok(welcome) => FrameView::Welcome { session: welcome.session, secret: welcome.secret },
            Err(reject) => FrameView::Reject { reason: reject.reason, message: reject.message },
        });
    }
    Ok(match ServerFrame::decode(body)? {
        ServerFrame::Response(header, payload) => {
            view_of_response(&header, frame.len() - payload.len())
        }
        ServerFrame::GoAway => FrameView::GoAway,
        ServerFrame::Pong => FrameView::Pong,
    })
}

fn view_of_response(header: &ResponseHeader, header_bytes: usize) -> FrameView {
    let status = match header.status {
        Status::Success => ResponseStatus::Success,
        Status::BusinessError => ResponseStatus::BusinessError,
        Status::InProgress => ResponseStatus::InProgress,
        Status::Aborted(reason) => ResponseStatus::Aborted(reason),
        Status::Refused(reason) => ResponseStatus::Refused(reason),
        Status::Never(refusal) => ResponseStatus::Never(refusal),
        Status::Unknown => ResponseStatus::Unknown,
    };
    FrameView::Response {
        seq: header.seq,
        attempt: header.attempt,
        status,
        committed: header.committed,
        resend: header.resend,
        header_bytes,
    }
}
