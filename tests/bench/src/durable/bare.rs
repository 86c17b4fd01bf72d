//! What no store can be faster than: a page written in place, and synced.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const PAGE: u64 = 4096;
/// As long as the store's log, and written from its beginning to its end as that is.
const LENGTH: u64 = 128 << 20;

pub(super) struct Bare {
    file: File,
    at: u64,
}

impl Bare {
    pub(super) fn open(path: &Path) -> Result<Bare, Box<dyn Error>> {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; LENGTH as usize], 0)?;
        file.sync_all()?;
        Ok(Bare { file, at: 0 })
    }

    /// Writes and syncs the next page.
    pub(super) fn write(&mut self) -> std::io::Result<()> {
        self.file.write_all_at(&[(self.at / PAGE) as u8; PAGE as usize], self.at)?;
        self.file.sync_data()?;
        self.at = (self.at + PAGE) % LENGTH;
        Ok(())
    }
}
