//! One frame on its way, and what a script may do with it.

use std::fmt;
use std::time::Duration;

use rpc::testing::{Direction, FrameView, ResponseStatus};

/// A frame on its way from one end to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was sent, since the world began.
    pub at: Duration,
    /// Whose connection it is on.
    pub client: String,
    /// Which server's.
    pub server: String,
    /// Which connection between the two, from 1 on.
    pub connection: u32,
    /// Which way it goes.
    pub direction: Direction,
    /// What it says.
    pub view: FrameView,
    /// All of it, with its length in front.
    pub bytes: Vec<u8>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Deliver,
    /// It never arrives; the connection goes on.
    Lose,
    /// It arrives this much later, behind what was sent after it.
    Delay(Duration),
    /// It arrives when the network releases what it holds.
    Hold,
    /// It arrives twice.
    Twice,
    /// It never arrives; the connection breaks.
    CutBefore,
    /// A part of it arrives, then the connection breaks.
    CutInside,
    /// It arrives, then the connection breaks.
    CutAfter,
}

impl Frame {
    /// Whether it is any send of this call.
    #[must_use]
    pub fn is_request(&self, seq: u64) -> bool {
        matches!(&self.view, FrameView::Request { seq: of, .. } if of.0 == seq)
    }

    /// Whether it is this send of this call.
    #[must_use]
    pub fn is_attempt(&self, seq: u64, attempt: u32) -> bool {
        self.is_request(seq) && self.attempt() == Some(attempt)
    }

    /// Whether it is a response to this call.
    #[must_use]
    pub fn is_response(&self, seq: u64) -> bool {
        matches!(&self.view, FrameView::Response { seq: of, .. } if of.0 == seq)
    }

    /// Whether it is a request of any call.
    #[must_use]
    pub fn is_any_request(&self) -> bool {
        matches!(self.view, FrameView::Request { .. })
    }

    /// Whether it is a response of this status.
    #[must_use]
    pub fn says(&self, status: ResponseStatus) -> bool {
        matches!(self.view, FrameView::Response { status: of, .. } if of == status)
    }

    /// Whether it is on a connection of this server.
    #[must_use]
    pub fn on(&self, server: &str) -> bool {
        self.server == server
    }

    /// Whether it goes to this server.
    #[must_use]
    pub fn to(&self, server: &str) -> bool {
        self.on(server) && self.direction == Direction::ToServer
    }

    /// Whether it comes from this server.
    #[must_use]
    pub fn from(&self, server: &str) -> bool {
        self.on(server) && self.direction == Direction::ToClient
    }

    /// Which send of its call it is, or answers.
    #[must_use]
    pub fn attempt(&self) -> Option<u32> {
        match &self.view {
            FrameView::Request { attempt, .. } | FrameView::Response { attempt, .. } => {
                Some(attempt.0)
            }
            _ => None,
        }
    }

    /// Whether it is a request to settle a call.
    #[must_use]
    pub fn settles(&self) -> bool {
        matches!(self.view, FrameView::Request { settle: true, .. })
    }

    /// Whether it is a response with its retry bit.
    #[must_use]
    pub fn is_resend(&self) -> bool {
        matches!(self.view, FrameView::Response { resend: true, .. })
    }

    /// Whether it is a response that was recorded in the store.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        matches!(self.view, FrameView::Response { committed: true, .. })
    }

    /// The watermark that it acknowledges up to, alone or with a request.
    #[must_use]
    pub fn watermark(&self) -> Option<u64> {
        match &self.view {
            FrameView::Request { watermark, .. } => watermark.map(|seq| seq.0),
            FrameView::Ack { watermark, .. } => Some(watermark.0),
            _ => None,
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.view {
            FrameView::Hello { session: None, .. } => f.write_str("hello"),
            FrameView::Hello { session: Some(session), .. } => {
                write!(f, "hello again {} {}", session.client, session.incarnation)
            }
            FrameView::Welcome { session, .. } => write!(f, "welcome {}", session.client),
            FrameView::Reject { reason, .. } => write!(f, "reject {reason:?}"),
            FrameView::Request { seq, attempt, watermark, settle, .. } => {
                write!(f, "request {seq} {attempt}")?;
                if *settle {
                    f.write_str(" settle")?;
                }
                watermark.map_or(Ok(()), |seq| write!(f, " ack<{seq}"))
            }
            FrameView::Response { seq, attempt, status, committed, resend, .. } => {
                write!(f, "response {seq} {attempt} {status:?}")?;
                f.write_str(if *committed { " committed" } else { "" })?;
                f.write_str(if *resend { " re-sent" } else { "" })
            }
            FrameView::Ack { watermark, acked_above } => {
                write!(f, "ack<{watermark}")?;
                acked_above.iter().try_for_each(|seq| write!(f, ",{seq}"))
            }
            FrameView::Cancel { seq } => write!(f, "cancel {seq}"),
            other => write!(f, "{other:?}"),
        }
    }
}
