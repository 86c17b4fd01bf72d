//! What can go wrong with the files: when they are opened, and later.

use std::io;
use std::sync::Arc;

use crate::panic::panic_message;

/// Why an [`EmbeddedStore`](super::EmbeddedStore) could not be opened. Nothing was changed in the
/// files, and nothing is lost by trying again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path names something that is no directory.
    #[error(
        "the data directory {place} is not a directory: name one, or a path that does not exist yet"
    )]
    NotADirectory {
        /// The path.
        place: String,
    },
    /// Another process, or another store of this one, works on the same files.
    #[error(
        "the data directory {place} is in use{}: stop that one, or name another directory",
        holder.map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    InUse {
        /// The path.
        place: String,
        /// The process that uses it, where it could be told.
        holder: Option<u32>,
    },
    /// The file was written by something else.
    #[error("{place} is not a store of this program: name another directory, or move it away")]
    NotAStore {
        /// The file.
        place: String,
    },
    /// The file was written by a version that lays its data out differently.
    #[error(
        "{place} has data format {found}, this program reads format {expected}: use the version of the program that wrote it"
    )]
    OtherFormat {
        /// The file.
        place: String,
        /// Its format.
        found: u64,
        /// The format of this version.
        expected: u64,
    },
    /// The content of the file is not what was written to it.
    #[error("{place} is damaged: restore it from a backup: {detail}")]
    Damaged {
        /// The file.
        place: String,
        /// What does not fit.
        detail: String,
    },
    /// The operating system refused.
    #[error(
        "cannot {step} {place}: {cause}: check that the disk works, has room and lets this user write there"
    )]
    Io {
        /// The file or directory.
        place: String,
        /// What was tried.
        step: &'static str,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
}

/// Why a store that was open answers no more. Once it has failed it stays so: what it holds in
/// memory may never become durable, so it must not be shown or built upon.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store {place} failed to {step} and is closed until it is opened again: {cause}; check the disk and its room, then restart the server"
)]
pub(super) struct Failure {
    pub(super) place: Arc<str>,
    pub(super) step: &'static str,
    #[source]
    pub(super) cause: FailureCause,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FailureCause {
    #[error(transparent)]
    Engine(#[from] redb::Error),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a bug in the store: {0}")]
    Panic(String),
}

/// A row that no version of this program wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of table {table} is malformed")]
pub(super) struct RowError {
    pub(super) table: &'static str,
}

impl FailureCause {
    /// From whatever error type an engine's operation has.
    pub(super) fn engine(error: impl Into<redb::Error>) -> FailureCause {
        FailureCause::Engine(error.into())
    }

    /// From what a panic was raised with.
    pub(super) fn panic(payload: &(dyn std::any::Any + Send)) -> FailureCause {
        FailureCause::Panic(panic_message(payload))
    }
}
