//! What can go wrong with a journal.

use std::io;

use crate::id::CallId;

/// Why a journal cannot be used. Nothing in it was changed, and nothing is lost by trying again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another client, of this process or another, works with it.
    #[error("the journal {place} is in use: stop the other client, or name another file")]
    InUse {
        /// The file.
        place: String,
    },
    /// The operating system refused.
    #[error(
        "cannot {step} the journal {place}: {cause}: check that the disk works, has room and lets this user write there"
    )]
    Io {
        /// The file.
        place: String,
        /// What was tried.
        step: &'static str,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
    /// The file was written by something else.
    #[error("{place} is not a journal of this program: name another file, or move it away")]
    NotAJournal {
        /// The file.
        place: String,
    },
    /// What is in it is not what was written to it.
    #[error(
        "the journal is damaged ({detail}): restore it, or move it away if the calls in it are settled otherwise"
    )]
    Damaged {
        /// What does not fit.
        detail: String,
    },
    /// It was written by a version that lays its rows out differently.
    #[error(
        "the journal has format {found}, this program reads format {expected}: use the version of the program that wrote it"
    )]
    OtherFormat {
        /// Its format.
        found: u32,
        /// The format of this version.
        expected: u32,
    },
    /// It belongs to a client of another service.
    #[error(
        "the journal belongs to a client of the service {found}, not {expected}: give each client a journal of its own"
    )]
    OtherService {
        /// The service that it is of.
        found: String,
        /// The service that was asked for.
        expected: String,
    },
    /// A call that is still open is one of a method that this program does not know, or knows with
    /// other types.
    #[error(
        "call {id} in the journal is one of the method {method}, which this program does not have, or has with other types: let the version that made the call settle it"
    )]
    MethodChanged {
        /// The call, as far as it has an id: the client is 0 for one that was never sent.
        id: CallId,
        /// Its method.
        method: String,
    },
    /// A journal of another kind has failed.
    #[error("the journal failed: {0}")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}
