//! Opening a store: the directory, its lock, a new file, and what is loaded into memory.
//!
//! | file in the directory | what it is |
//! | --- | --- |
//! | `lock` | locked while the store is open; holds the id of the process that has it |
//! | `store.redb` | the data |
//! | `store.redb.new` | a new file in the making, renamed once it is whole |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableError};

use super::config::EmbeddedConfig;
use super::error::{FailureCause, OpenError};
use super::generation::Lsn;
use super::layout;
use super::snapshot::Snapshot;
use super::state::{Recorded, State};
use crate::id::{ClientId, Seq};
use crate::rule::{Rule, kept};
use crate::store::sessions::Sessions;

const LOCK_FILE: &str = "lock";
const DATA_FILE: &str = "store.redb";
const NEW_FILE: &str = "store.redb.new";

/// An opened file, and what was loaded from it.
pub(super) struct Opened {
    pub(super) place: Arc<str>,
    pub(super) database: Database,
    pub(super) state: State,
}

/// The lock on a data directory: the operating system lets go of it when the process ends, however
/// it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

/// Opens the store in a directory, and creates both if they do not exist.
pub(super) fn directory(
    directory: &Path,
    config: &EmbeddedConfig,
) -> Result<(Opened, DirectoryLock), OpenError> {
    create_directory(directory)?;
    let lock = lock(directory)?;
    let path = directory.join(DATA_FILE);
    match fs::metadata(&path) {
        // An empty file would be taken for a new one, and what it held would be gone unnoticed.
        Ok(found) if found.len() == 0 => {
            let detail = "the file is empty".to_owned();
            return Err(OpenError::Damaged { place: place(&path), detail });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_file(directory, config)?,
        Err(cause) => return Err(io_error(&path, "look for", cause)),
    }
    Ok((file(&path, config)?, lock))
}

/// Opens the store on a backend that is empty, or holds a store.
pub(super) fn backend(
    backend: impl StorageBackend,
    place: Arc<str>,
    config: &EmbeddedConfig,
) -> Result<Opened, OpenError> {
    // What a process wrote that died before its fsync may be read here and answered from. So it
    // must be durable first.
    backend.sync_data().map_err(|cause| OpenError::Io {
        place: place.to_string(),
        step: "sync",
        cause,
    })?;
    // The engine reports damage as an error where it looks for it, and panics elsewhere.
    let opened = catch_unwind(AssertUnwindSafe(|| open_engine(backend, &place, config)));
    let (database, state) = opened.unwrap_or_else(|panic| {
        let detail = FailureCause::panic(&*panic).to_string();
        Err(OpenError::Damaged { place: place.to_string(), detail })
    })?;
    Ok(Opened { place, database, state })
}

fn create_directory(directory: &Path) -> Result<(), OpenError> {
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(OpenError::NotADirectory { place: place(directory) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(OpenError::NotADirectory { place: place(directory) });
        }
        Err(cause) => return Err(io_error(directory, "look into", cause)),
    }
    let parent = match directory.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if directory.parent().is_some() {
        create_directory(parent)?;
    }
    match fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(cause) => return Err(io_error(directory, "create", cause)),
    }
    sync_directory(parent)
}

fn lock(directory: &Path) -> Result<DirectoryLock, OpenError> {
    let path = directory.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|cause| io_error(&path, "open", cause))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message.
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim().parse().ok();
            return Err(OpenError::InUse { place: place(directory), holder });
        }
        Err(TryLockError::Error(cause)) => return Err(io_error(&path, "lock", cause)),
    }
    file.set_len(0)
        .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()))
        .map_err(|cause| io_error(&path, "write", cause))?;
    Ok(DirectoryLock { _file: file })
}

/// Makes a new, empty store under another name and renames it when it is whole: a file that a
/// crash left half made would be no store, and could not be told from a damaged one.
fn create_file(directory: &Path, config: &EmbeddedConfig) -> Result<(), OpenError> {
    let new = directory.join(NEW_FILE);
    match fs::remove_file(&new) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(io_error(&new, "remove", cause)),
    }
    File::create_new(&new).map_err(|cause| io_error(&new, "create", cause))?;
    let Opened { database, state, .. } = file(&new, config)?;
    drop(state);
    database.close().map_err(|error| engine_error(&place(&new), error))?;
    let path = directory.join(DATA_FILE);
    fs::rename(&new, &path).map_err(|cause| io_error(&path, "create", cause))?;
    sync_directory(directory)
}

fn file(path: &Path, config: &EmbeddedConfig) -> Result<Opened, OpenError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|cause| io_error(path, "open", cause))?;
    forget_cached(&file).map_err(|cause| io_error(path, "read", cause))?;
    let engine = FileBackend::new(file).map_err(|error| engine_error(&place(path), error))?;
    backend(engine, place(path).into(), config)
}

/// Has the operating system read the file from the disk again.
///
/// After a failed fsync, Linux keeps what it could not write in its cache and takes it for written:
/// a store that was opened upon that would lose it, and what was built on it, with the power. What
/// is truly waiting to be written is synced first and stays.
#[cfg(target_os = "linux")]
fn forget_cached(file: &File) -> io::Result<()> {
    file.sync_all()?;
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

#[cfg(not(target_os = "linux"))]
fn forget_cached(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Makes the names in a directory durable.
fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|cause| io_error(directory, "sync", cause))
}

fn open_engine(
    backend: impl StorageBackend,
    place: &str,
    config: &EmbeddedConfig,
) -> Result<(Database, State), OpenError> {
    let io_error = |cause| OpenError::Io { place: place.to_owned(), step: "open", cause };
    let is_new = backend.len().map_err(io_error)? == 0;
    let database = Builder::new()
        .set_cache_size(config.cache_bytes)
        .set_check_integrity_on_open(config.check_on_open)
        .create_with_backend(backend)
        .map_err(|error| engine_error(place, error))?;
    if is_new {
        initialize(&database).map_err(|error| engine_error(place, error))?;
    }
    check_format(&database, place)?;
    let state = load(&database, config).map_err(|cause| match cause {
        FailureCause::Engine(error) => engine_error(place, error),
        other => OpenError::Damaged { place: place.to_owned(), detail: other.to_string() },
    })?;
    Ok((database, state))
}

fn initialize(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(layout::DOCUMENTS)?;
    transaction.open_table(layout::RECORDS)?;
    transaction.open_table(layout::SESSIONS)?;
    let mut meta = transaction.open_table(layout::META)?;
    meta.insert(layout::META_FORMAT, layout::FORMAT)?;
    meta.insert(layout::META_NEXT_CLIENT, 1)?;
    meta.insert(layout::META_LAST_LSN, 0)?;
    drop(meta);
    transaction.commit()?;
    Ok(())
}

fn check_format(database: &Database, place: &str) -> Result<(), OpenError> {
    let foreign = || OpenError::NotAStore { place: place.to_owned() };
    let transaction = database.begin_read().map_err(|error| engine_error(place, error))?;
    let meta = match transaction.open_table(layout::META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(engine_error(place, error)),
        Err(_) => return Err(foreign()),
    };
    let format = meta.get(layout::META_FORMAT).map_err(|error| engine_error(place, error))?;
    let found = format.ok_or_else(foreign)?.value();
    if found != layout::FORMAT {
        let place = place.to_owned();
        return Err(OpenError::OtherFormat { place, found, expected: layout::FORMAT });
    }
    Ok(())
}

fn load(database: &Database, config: &EmbeddedConfig) -> Result<State, FailureCause> {
    let transaction = database.begin_read().map_err(FailureCause::engine)?;
    let meta = transaction.open_table(layout::META).map_err(FailureCause::engine)?;
    let number = |name: &str| match meta.get(name).map_err(FailureCause::engine)? {
        Some(row) => Ok(row.value()),
        None => Err(FailureCause::from(layout::MALFORMED_META)),
    };
    let next_client = match kept(Rule::NeverReuseClientIds) {
        true => ClientId(number(layout::META_NEXT_CLIENT)?),
        false => ClientId(1),
    };
    let last = Lsn(number(layout::META_LAST_LSN)?);

    let mut sessions = Sessions::new(next_client, config.max_sessions);
    let rows = transaction.open_table(layout::SESSIONS).map_err(FailureCause::engine)?;
    let records = transaction.open_table(layout::RECORDS).map_err(FailureCause::engine)?;
    for row in rows.iter().map_err(FailureCause::engine)? {
        let (client, row) = row.map_err(FailureCause::engine)?;
        let client = client.value();
        let mut session = layout::session::<Recorded>(row.value())?;
        let mut its_records =
            records.range((client, 0)..=(client, u64::MAX)).map_err(FailureCause::engine)?;
        if let Some(newest) = its_records.next_back() {
            let (id, _) = newest.map_err(FailureCause::engine)?;
            session.kept.up_to = Seq(id.value().1);
        }
        sessions.restore(ClientId(client), session);
    }
    Ok(State::new(sessions, last, Snapshot::take(database)?))
}

fn engine_error(place: &str, error: impl Into<redb::Error>) -> OpenError {
    let place = place.to_owned();
    match error.into() {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            OpenError::InUse { place, holder: None }
        }
        redb::Error::UpgradeRequired(_) => OpenError::NotAStore { place },
        redb::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => {
            OpenError::NotAStore { place }
        }
        redb::Error::Io(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            OpenError::Damaged { place, detail: cause.to_string() }
        }
        redb::Error::Io(cause) => OpenError::Io { place, step: "open", cause },
        other => OpenError::Damaged { place, detail: other.to_string() },
    }
}

fn io_error(path: &Path, step: &'static str, cause: io::Error) -> OpenError {
    OpenError::Io { place: place(path), step, cause }
}

fn place(path: &Path) -> String {
    path.display().to_string()
}
