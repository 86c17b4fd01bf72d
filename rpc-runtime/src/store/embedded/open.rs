//! Opening a store: the directory, its lock, a new file, and what is loaded into memory.
//!
//! | file in the directory | what it is |
//! | --- | --- |
//! | `lock` | locked while the store is open; holds the id of the process that has it |
//! | `store.log` | the log: what is durable and not in the tree yet |
//! | `store.redb` | the tree: all else |
//! | `store.redb.new` | a new tree in the making, renamed once it is whole, and its log with it |

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
use super::log::{self, Log, ReadError};
use super::snapshot::Snapshot;
use super::state::{Recorded, State};
use super::{WriteError, checkpoint};
use crate::disk;
use crate::id::{ClientId, Seq};
use crate::rule::{Rule, kept};
use crate::store::sessions::Sessions;

const LOCK_FILE: &str = "lock";
const LOG_FILE: &str = "store.log";
const DATA_FILE: &str = "store.redb";
const NEW_FILE: &str = "store.redb.new";

/// The opened files, and what was loaded from them.
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
    let log = match open_file(&directory.join(LOG_FILE)) {
        Ok(log) => Some(Box::new(log) as _),
        Err(OpenError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok((backends(open_file(&path)?, log, place(&path).into(), config)?, lock))
}

/// Opens the store on a tree that is empty, or holds a store, and its log.
pub(super) fn backends(
    tree: impl StorageBackend,
    log: Option<Box<dyn StorageBackend>>,
    place: Arc<str>,
    config: &EmbeddedConfig,
) -> Result<Opened, OpenError> {
    // What a process wrote that died before its fsync may be read here and answered from. So it
    // must be durable first.
    for file in [Some(&tree as &dyn StorageBackend), log.as_deref()].into_iter().flatten() {
        file.sync_data().map_err(|cause| OpenError::Io {
            place: place.to_string(),
            step: "sync",
            cause,
        })?;
    }
    // The engine reports damage as an error where it looks for it, and panics elsewhere.
    let opened = catch_unwind(AssertUnwindSafe(|| open_both(tree, log, &place, config)));
    let (database, log, mut state) = opened.unwrap_or_else(|panic| {
        let detail = FailureCause::panic(&*panic).to_string();
        Err(OpenError::Damaged { place: place.to_string(), detail })
    })?;
    state.set_log(log);
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
    let log = directory.join(LOG_FILE);
    for file in [&new, &log] {
        File::create(file).map_err(|cause| io_error(file, "create", cause))?;
    }
    let log = Some(Box::new(open_file(&log)?) as _);
    let opened = backends(open_file(&new)?, log, place(&new).into(), config)?;
    opened.database.close().map_err(|error| engine_error(&place(&new), error))?;
    let path = directory.join(DATA_FILE);
    fs::rename(&new, &path).map_err(|cause| io_error(&path, "create", cause))?;
    sync_directory(directory)
}

fn open_file(path: &Path) -> Result<FileBackend, OpenError> {
    let file = disk::open(path).map_err(|cause| io_error(path, "open", cause))?;
    FileBackend::new(file).map_err(|error| engine_error(&place(path), error))
}

/// Makes the names in a directory durable.
fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    disk::sync_directory(directory).map_err(|cause| io_error(directory, "sync", cause))
}

fn open_both(
    tree: impl StorageBackend,
    log: Option<Box<dyn StorageBackend>>,
    place: &str,
    config: &EmbeddedConfig,
) -> Result<(Database, Log, State), OpenError> {
    let io_error = |step| move |cause| OpenError::Io { place: place.to_owned(), step, cause };
    let is_new = tree.len().map_err(io_error("open"))? == 0;
    let database = Builder::new()
        .set_cache_size(config.cache_bytes)
        .set_check_integrity_on_open(config.check_on_open)
        .create_with_backend(tree)
        .map_err(|error| engine_error(place, error))?;
    let segment_bytes = log::segment_bytes(config.log_bytes);
    if is_new {
        let store = getrandom::u64()
            .map_err(|error| io_error("draw an id for")(io::Error::other(error)))?;
        if let Some(log) = &log {
            log::create(&**log, store).map_err(io_error("write the log of"))?;
        }
        initialize(&database, store, segment_bytes).map_err(|error| engine_error(place, error))?;
    }
    check_format(&database, place)?;
    let damaged =
        |detail: &str| OpenError::Damaged { place: place.to_owned(), detail: detail.to_owned() };
    let log = log.ok_or_else(|| damaged("its log is missing"))?;
    let failed = |cause| match cause {
        FailureCause::Engine(error) => engine_error(place, error),
        FailureCause::Io(cause) => io_error("read the log of")(cause),
        other => damaged(&other.to_string()),
    };
    let (state, found) = load(&database, config, &*log).map_err(failed)?;
    let frames = found.frames(state.snapshot().last()).map_err(|error| match error {
        ReadError::Io(cause) => failed(FailureCause::Io(cause)),
        ReadError::Damaged(detail) => damaged(detail),
    })?;
    let (store, is_of_that_size) = (found.store, found.segment_bytes == segment_bytes);
    let state = recover(&database, state, frames).map_err(failed)?;
    if !is_of_that_size {
        resize(&database, segment_bytes).map_err(|error| engine_error(place, error))?;
    }
    let log = Log::new(log, store, segment_bytes).map_err(io_error("read the log of"))?;
    Ok((database, log, state))
}

fn initialize(database: &Database, store: u64, segment_bytes: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(layout::DOCUMENTS)?;
    transaction.open_table(layout::RECORDS)?;
    transaction.open_table(layout::SESSIONS)?;
    let mut meta = transaction.open_table(layout::META)?;
    meta.insert(layout::META_FORMAT, layout::FORMAT)?;
    meta.insert(layout::META_NEXT_CLIENT, 1)?;
    meta.insert(layout::META_LAST_LSN, 0)?;
    meta.insert(layout::META_STORE, store)?;
    meta.insert(layout::META_SEGMENT_BYTES, segment_bytes)?;
    drop(meta);
    transaction.commit()?;
    Ok(())
}

/// Puts what the log holds into the tree, so that the log can start over.
fn recover(
    database: &Database,
    mut state: State,
    frames: Vec<log::Frame>,
) -> Result<State, FailureCause> {
    for frame in frames {
        state.replay(frame)?;
    }
    state.replayed();
    if !state.is_in_tree() {
        let batch = state.begin_checkpoint();
        let written = checkpoint::write(database, &batch);
        let snapshot = written.map_err(|WriteError { cause, .. }| cause)?;
        drop(state.end_checkpoint(snapshot, &batch));
    }
    Ok(state)
}

/// Gives an empty log segments of another length.
fn resize(database: &Database, segment_bytes: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut meta = transaction.open_table(layout::META)?;
    meta.insert(layout::META_SEGMENT_BYTES, segment_bytes)?;
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

/// What the tree holds, and the log that goes with it.
fn load<'a>(
    database: &Database,
    config: &EmbeddedConfig,
    log: &'a dyn StorageBackend,
) -> Result<(State, log::Found<'a>), FailureCause> {
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
        session.kept.filed_watermark = session.watermark;
        let mut its_records =
            records.range((client, 0)..=(client, u64::MAX)).map_err(FailureCause::engine)?;
        if let Some(newest) = its_records.next_back() {
            let (id, _) = newest.map_err(FailureCause::engine)?;
            session.kept.filed = Seq(id.value().1);
        }
        sessions.restore(ClientId(client), session);
    }
    let state = State::new(sessions, Snapshot::take(database, last)?);
    let segment_bytes = number(layout::META_SEGMENT_BYTES)?;
    Ok((state, log::Found { backend: log, store: number(layout::META_STORE)?, segment_bytes }))
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
