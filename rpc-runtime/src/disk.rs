//! What every durable file needs: bytes that are truly on the disk, and names that stay.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a file that is there, to be read as it is on the disk, and written.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).open(path)?;
    forget_cached(&file)?;
    Ok(file)
}

/// Has the operating system read the file from the disk again.
///
/// After a failed fsync, Linux keeps what it could not write in its cache and takes it for written:
/// whoever opens the file upon that would lose it, and what was built on it, with the power. What
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
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    File::open(directory)?.sync_all()
}
