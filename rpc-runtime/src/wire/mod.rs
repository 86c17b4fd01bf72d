//! The bytes of the protocol: frames, headers, acks, the handshake.
//!
//! A connection carries frames: a varint length, then that many bytes, of which the first holds
//! the kind in its low three bits and flags in the others. All integers are LEB128 varints unless
//! a fixed width is named. `docs/protocol.md` has the byte tables.
//!
//! Decoders return errors, never panic, and allocate nothing before they have checked a length
//! against what is there and against its limit.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `varint.rs` | integers, and the [`Reader`] that all decoders share |
//! | `frame.rs` | frame boundaries, in a stream that arrives in pieces |
//! | `ack.rs` | watermark and bitmap |
//! | `request.rs` | what a client sends after the handshake |
//! | `response.rs` | what a server sends after the handshake |
//! | `handshake.rs` | hello, welcome, reject |

pub(crate) mod ack;
pub(crate) mod frame;
pub(crate) mod handshake;
#[cfg(test)]
mod header_size_tests;
#[cfg(test)]
mod property_tests;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod varint;

pub(crate) use self::varint::Reader;

/// The protocol's version, the only one that this build speaks.
pub(crate) const VERSION: u8 = 1;

/// Bytes that are not this protocol. Whoever sent them is at fault; the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WireError {
    /// The frame ends inside a field.
    #[error("a frame ends inside its {0}")]
    Truncated(&'static str),
    /// An integer that does not fit, or is not in its shortest form.
    #[error("the integer of {0} is malformed or too large")]
    BadInteger(&'static str),
    /// A frame longer than the agreed limit.
    #[error(
        "a frame of {size} bytes came in, the limit is {limit}: raise max_frame_bytes on both ends, or send less per call"
    )]
    FrameTooLarge {
        /// What the length says.
        size: u64,
        /// What was agreed.
        limit: usize,
    },
    /// A frame kind or flag that this version does not know.
    #[error("the frame starts with {0:#04x}, which means nothing here")]
    UnknownFrame(u8),
    /// A code that this version does not know.
    #[error("{0} has an unknown value")]
    UnknownValue(&'static str),
    /// The first bytes are not this protocol's.
    #[error("the peer does not speak this protocol (its first bytes are not a hello)")]
    NotOurProtocol,
    /// Something is longer than its limit.
    #[error("{what} has {size} entries or bytes, at most {limit} are allowed")]
    LimitExceeded {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        size: u64,
        /// How long it may be.
        limit: u64,
    },
    /// Text that is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotText(&'static str),
    /// A frame goes on behind its last field.
    #[error("a frame has bytes behind its end")]
    TrailingBytes,
    /// A frame that does not belong here: before or after the handshake, or in the wrong direction.
    #[error("a frame of kind {0} is out of place")]
    OutOfPlace(u8),
}
