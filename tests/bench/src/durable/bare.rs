//! What no store can be faster than: a page written in place, and synced.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Measured, Measuring};

const PAGE: u64 = 4096;
/// As long as the store's log, and written from its beginning to its end as that is.
const LENGTH: u64 = 32 << 20;

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

    /// Writes and syncs page after page, for this long.
    pub(super) fn run(&mut self, time: Duration) -> Result<Measured, Box<dyn Error>> {
        let mut each = Vec::new();
        let measuring = Measuring::begin();
        while measuring.start.elapsed() < time {
            let begun = Instant::now();
            self.file.write_all_at(&[each.len() as u8; PAGE as usize], self.at)?;
            self.file.sync_data()?;
            each.push(begun.elapsed());
            self.at = (self.at + PAGE) % LENGTH;
        }
        Ok(measuring.end(each.len(), each))
    }
}
