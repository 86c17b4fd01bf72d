//! A journal in a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{Change, Journal, JournalError, JournalFuture};
use crate::disk;

/// A journal in a file of the embedded store's engine (redb). One client at a time may have it
/// open; the operating system lets go of it when its process ends, however it ends. Only its owner may
/// read it, since it holds the secret of the client's session.
///
/// A write costs a transaction of the engine, with its sync. What many calls have to write is
/// written together, so a client with many calls in flight pays little for each.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("rpc-journal-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let journal = rpc::journal::FileJournal::open(directory.join("payments.journal"))?;
/// let client = rpc::Client::builder().journal(journal);
/// # drop(client);
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FileJournal {
    place: Arc<str>,
    database: Arc<Database>,
}

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("client journal");

/// The engine's cache in bytes: rows are read once.
const CACHE_BYTES: usize = 1 << 20;

impl FileJournal {
    /// Opens a journal, and makes an empty one if there is no such file. Its directory must exist.
    ///
    /// # Errors
    /// If the file is in use, is something else, is damaged, or the operating system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<FileJournal, JournalError> {
        let path = path.as_ref();
        let place: Arc<str> = path.display().to_string().into();
        match fs::metadata(path) {
            // An empty file would be taken for a new one, and what it held would be gone unnoticed.
            Ok(found) if found.len() == 0 => {
                let detail = format!("the file {place} is empty");
                return Err(JournalError::Damaged { detail });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
            Err(cause) => return Err(io_error(path, "look for", cause)),
        }
        let database = open_file(path)?;
        let transaction = database.begin_read().map_err(|error| engine_error(path, error))?;
        match transaction.open_table(ROWS) {
            Ok(_) => {}
            Err(TableError::Storage(error)) => return Err(engine_error(path, error)),
            Err(_) => return Err(JournalError::NotAJournal { place: place.to_string() }),
        }
        Ok(FileJournal { place, database: Arc::new(database) })
    }

    /// Runs what may wait for the disk where it holds nobody up.
    async fn off_the_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, JournalError> {
        let database = Arc::clone(&self.database);
        let worked = tokio::task::spawn_blocking(move || work(&database)).await;
        match worked {
            Ok(worked) => worked.map_err(|error| engine_error(Path::new(&*self.place), error)),
            Err(stopped) => Err(JournalError::Other(Box::new(stopped))),
        }
    }
}

impl Journal for FileJournal {
    fn load(&self) -> JournalFuture<'_, Vec<(u64, Vec<u8>)>> {
        Box::pin(self.off_the_runtime(|database| {
            let transaction = database.begin_read()?;
            let rows = transaction.open_table(ROWS)?;
            let mut found = Vec::new();
            for row in rows.iter()? {
                let (key, value) = row?;
                found.push((key.value(), value.value().to_vec()));
            }
            Ok(found)
        }))
    }

    fn write(&self, changes: Vec<Change>) -> JournalFuture<'_, ()> {
        Box::pin(self.off_the_runtime(move |database| {
            let transaction = database.begin_write()?;
            {
                let mut rows = transaction.open_table(ROWS)?;
                for Change { key, value } in &changes {
                    match value {
                        Some(value) => rows.insert(key, &value[..])?,
                        None => rows.remove(key)?,
                    };
                }
            }
            Ok(transaction.commit()?)
        }))
    }
}

/// Makes an empty journal under another name and renames it when it is whole: what a crash leaves
/// half made could not be told from what is damaged.
fn create(path: &Path) -> Result<(), JournalError> {
    let new = PathBuf::from(format!("{}.new", path.display()));
    create_private(&new).map_err(|cause| io_error(&new, "create", cause))?;
    let made = || -> Result<(), redb::Error> {
        let database = Builder::new().create_with_backend(FileBackend::new(
            OpenOptions::new().read(true).write(true).open(&new)?,
        )?)?;
        let transaction = database.begin_write()?;
        transaction.open_table(ROWS)?;
        transaction.commit()?;
        Ok(database.close()?)
    };
    made().map_err(|error| engine_error(&new, error))?;
    fs::rename(&new, path).map_err(|cause| io_error(path, "create", cause))?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    disk::sync_directory(directory).map_err(|cause| io_error(directory, "sync", cause))
}

/// An empty file that only its owner reads: the secret of a session will be in it.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    // It may be left over from a crash, with whatever rights it had.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

fn open_file(path: &Path) -> Result<Database, JournalError> {
    let file = disk::open(path).map_err(|cause| io_error(path, "open", cause))?;
    let file = FileBackend::new(file).map_err(|error| engine_error(path, error))?;
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(file)
        .map_err(|error| engine_error(path, error))
}

fn engine_error(path: &Path, error: impl Into<redb::Error>) -> JournalError {
    let place = path.display().to_string();
    match error.into() {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            JournalError::InUse { place }
        }
        redb::Error::UpgradeRequired(_) => JournalError::NotAJournal { place },
        redb::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => {
            JournalError::NotAJournal { place }
        }
        redb::Error::Io(cause) => JournalError::Io { place, step: "use", cause },
        other => JournalError::Damaged { detail: format!("{place}: {other}") },
    }
}

fn io_error(path: &Path, step: &'static str, cause: io::Error) -> JournalError {
    JournalError::Io { place: path.display().to_string(), step, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("rpc-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("client.journal")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn put(key: u64, value: &[u8]) -> Change {
        Change { key, value: Some(value.to_vec()) }
    }

    #[tokio::test]
    async fn rows_are_there_after_it_was_opened_again() {
        let scratch = Scratch::new("journal-rows");
        let journal = FileJournal::open(scratch.file()).unwrap();
        assert_eq!(journal.load().await.unwrap(), []);
        journal.write(vec![put(7, b"x"), put(0, b"head"), put(9, b"y")]).await.unwrap();
        let gone = Change { key: 9, value: None };
        journal.write(vec![put(7, b"z"), gone]).await.unwrap();
        drop(journal);
        let rows = FileJournal::open(scratch.file()).unwrap().load().await.unwrap();
        assert_eq!(rows, [(0, b"head".to_vec()), (7, b"z".to_vec())]);
    }

    #[tokio::test]
    async fn a_second_client_is_told_that_it_is_in_use() {
        let scratch = Scratch::new("journal-in-use");
        let journal = FileJournal::open(scratch.file()).unwrap();
        let second = FileJournal::open(scratch.file());
        assert!(matches!(second, Err(JournalError::InUse { .. })), "{second:?}");
        drop(journal);
        FileJournal::open(scratch.file()).unwrap();
    }

    #[test]
    fn what_is_no_journal_is_left_alone() {
        let scratch = Scratch::new("journal-foreign");
        for (content, expected) in
            [(&b""[..], "damaged"), (b"a letter to my bank, in some words", "is not a journal")]
        {
            fs::write(scratch.file(), content).unwrap();
            let error = FileJournal::open(scratch.file()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(fs::read(scratch.file()).unwrap(), content);
        }
        fs::remove_file(scratch.file()).unwrap();
        let other = Database::create(scratch.file()).unwrap();
        let transaction = other.begin_write().unwrap();
        transaction.open_table(TableDefinition::<u64, u64>::new("other")).unwrap();
        transaction.commit().unwrap();
        drop(other);
        let error = FileJournal::open(scratch.file()).unwrap_err();
        assert!(matches!(error, JournalError::NotAJournal { .. }), "{error}");
    }

    #[test]
    fn a_crash_while_it_is_made_leaves_none() {
        let scratch = Scratch::new("journal-half-made");
        fs::write(scratch.0.join("client.journal.new"), b"half").unwrap();
        FileJournal::open(scratch.file()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;

            let mode = fs::metadata(scratch.file()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "the secret of the session is in it");
        }
    }
}
