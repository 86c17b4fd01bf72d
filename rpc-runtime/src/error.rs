//! What a caller is told: whether the call took effect, and whose fault it is if it did not.

use crate::id::CallId;
pub use crate::store::{AbortReason, Refusal};
pub use crate::wire::handshake::RejectReason;
pub use crate::wire::response::RefusalReason;

/// How a call failed. `E` is the method's own error type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The business said no, and changed nothing.
    #[error("{0}")]
    Business(E),
    /// The call has not taken effect, and never will. Making it anew is safe.
    #[error("not executed: {0}")]
    NotExecuted(NotExecuted),
    /// The call may have taken effect or not. Asking again with the same id, and the same
    /// arguments, settles it: `client.method(…).ask_again(id)`. Making it anew is **not** safe.
    #[error("call {0} may have been executed or not ({1}); ask again with its id")]
    OutcomeUnknown(CallId, Unknown),
}

/// Why a call was not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotExecuted {
    /// Every attempt was refused; this was said last.
    #[error("the server refused it ({reason:?}): {message}")]
    Refused {
        /// Why.
        reason: RefusalReason,
        /// What the server said.
        message: String,
    },
    /// It was ended before it took effect, and that is recorded.
    #[error("it was ended before it took effect ({0:?})")]
    Aborted(AbortReason),
    /// No server could be reached before the deadline.
    #[error("no server could be reached before the deadline: {0}")]
    NotConnected(String),
    /// The deadline passed before it was sent, or before a read was answered.
    #[error("the deadline passed")]
    Deadline,
    /// The encoded arguments do not fit a frame.
    #[error(
        "the arguments are {size} bytes, at most {limit} can be sent: send less, or raise max_frame_bytes on both ends"
    )]
    TooLarge {
        /// Their size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The arguments cannot be encoded.
    #[error("the arguments cannot be encoded: {0}")]
    Encode(String),
    /// The id belongs to a call with other arguments, or of another method.
    #[error("this id belongs to a call with other arguments: give it the arguments of that call")]
    IdReused,
    /// The client was shut down.
    #[error("the client was shut down")]
    ClientClosed,
    /// It was to have a name, and cannot have one.
    #[error("the call cannot be made under a name: {0}")]
    Unnameable(String),
    /// The journal holds as much as it may.
    #[error(
        "the journal is full ({limit} bytes): forget named calls that are no longer asked for, wait for open ones, or raise max_journal_bytes"
    )]
    JournalFull {
        /// The limit in bytes.
        limit: usize,
    },
    /// The journal failed, and with it the client.
    #[error(
        "the journal failed, and the client is closed: {0}: mend it, and make a new client on it"
    )]
    JournalFailed(String),
    /// The session ended before the call was sent.
    #[error("the session has ended: make the call again")]
    SessionClosed,
}

/// Why a call's outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// Nothing definite was heard before the deadline and its grace.
    #[error("no answer came in time")]
    NoAnswer,
    /// Its record is gone: it was acknowledged earlier, or this client no longer knows the id.
    #[error("its record is no longer kept")]
    Stale,
    /// The session has ended, by its lease or by a later incarnation of this client.
    #[error("the session has ended")]
    SessionClosed,
    /// The client was shut down while the call ran.
    #[error("the client was shut down")]
    ClientClosed,
    /// Another future waits for the call of this name.
    #[error("another future waits for this call: await that one, or drop it")]
    AwaitedElsewhere,
    /// The journal failed, and with it the client. Its next life goes on with the call.
    #[error(
        "the journal failed, and the client is closed: {0}: mend it, and make a new client on it"
    )]
    JournalFailed(String),
    /// It took effect, but the result does not decode: the two ends disagree on its type.
    #[error("the result does not decode: {0}")]
    BadResponse(String),
}

/// Why a client could not be connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address was given.
    #[error("no server address was given: name at least one")]
    NoAddress,
    /// A server refused this client for good.
    #[error("{address} refused the connection ({reason:?}): {message}")]
    Rejected {
        /// The server.
        address: String,
        /// Why.
        reason: RejectReason,
        /// What the server said.
        message: String,
    },
    /// The client's journal cannot be used.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// No server was reached in time.
    #[error("no server was reached within {limit:?}: {detail}")]
    Unreachable {
        /// How long was tried.
        limit: std::time::Duration,
        /// What was heard from each address.
        detail: String,
    },
}
