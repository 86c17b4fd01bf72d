//! The log: where generations become durable, by one write and one sync each.
//!
//! The file is a head of one block and two *segments*. A generation is a frame (`frame.rs`) at the
//! next block of the current segment: no block that holds a durable frame is written again before
//! the tree holds all that the frame says. When a segment is full, what it holds goes to the tree
//! (`checkpoint.rs`) while the other segment is filled.

use std::io;

use bytes::Bytes;
use redb::StorageBackend;

use super::frame::{self, HEAD, Head};
use super::generation::{Lsn, Span};

/// Frames start at multiples of this. Disks write no less at once.
pub(super) const BLOCK: u64 = 4096;
/// How much the file grows by: written in place afterwards, a sync need not write down the file's
/// length.
const GROWTH: u64 = 1 << 20;
const MAGIC: &[u8; 8] = b"rpc-log\n";
const FORMAT: u64 = 1;

/// An open log, about to write.
#[derive(Debug)]
pub(super) struct Log {
    backend: Box<dyn StorageBackend>,
    store: u64,
    segment_bytes: u64,
    /// The current segment: 0 or 1.
    segment: u64,
    /// Where in it the next frame goes.
    next: u64,
    /// The length of the file.
    length: u64,
}

/// Why a generation is not in the log, or may not be.
#[derive(Debug)]
pub(super) struct AppendError {
    /// Whether its frame may be there, whole.
    pub(super) may_be_written: bool,
    pub(super) cause: io::Error,
}

/// A frame that was read back.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) head: Head,
    pub(super) changes: Bytes,
}

/// What a log cannot be read for.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    /// What stands there was not written so.
    Damaged(&'static str),
}

impl From<io::Error> for ReadError {
    fn from(cause: io::Error) -> ReadError {
        ReadError::Io(cause)
    }
}

/// How long a segment is of a log that may take so many bytes.
pub(super) fn segment_bytes(log_bytes: usize) -> u64 {
    (log_bytes as u64 / 2 / BLOCK).max(1) * BLOCK
}

/// Makes an empty log for the store with this id, durably.
pub(super) fn create(backend: &dyn StorageBackend, store: u64) -> io::Result<()> {
    backend.set_len(BLOCK)?;
    backend.write(0, &head_block(store))?;
    backend.sync_data()
}

fn head_block(store: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    block[..8].copy_from_slice(MAGIC);
    block[8..16].copy_from_slice(&FORMAT.to_le_bytes());
    block[16..24].copy_from_slice(&store.to_le_bytes());
    block
}

impl Log {
    /// A log of which everything is in the tree.
    pub(super) fn new(
        backend: Box<dyn StorageBackend>,
        store: u64,
        segment_bytes: u64,
    ) -> io::Result<Log> {
        let length = backend.len()?;
        Ok(Log { backend, store, segment_bytes, segment: 0, next: 0, length })
    }

    /// Whether a frame of this length has room in the current segment.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.next + in_blocks(length as u64) <= self.segment_bytes
    }

    /// Goes on with the other segment if a frame of this length fits there. The tree must hold all
    /// that it says.
    pub(super) fn switch_for(&mut self, length: usize) {
        if in_blocks(length as u64) <= self.segment_bytes {
            self.segment = 1 - self.segment;
            self.next = 0;
        }
    }

    /// Starts the current segment over. The tree must hold all that it says.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
    }

    /// Appends a frame, for which there is room, and makes it durable.
    pub(super) fn append(&mut self, frame: &mut Vec<u8>, span: &Span) -> Result<(), AppendError> {
        frame::seal(frame, self.store, span);
        frame.resize(in_blocks(frame.len() as u64) as usize, 0);
        let at = BLOCK + self.segment * self.segment_bytes + self.next;
        let end = at + frame.len() as u64;
        self.grow(end).map_err(|cause| AppendError { may_be_written: false, cause })?;
        let written = self.backend.write(at, frame).and_then(|()| self.backend.sync_data());
        written.map_err(|cause| AppendError { may_be_written: true, cause })?;
        self.next += frame.len() as u64;
        Ok(())
    }

    fn grow(&mut self, end: u64) -> io::Result<()> {
        if end <= self.length {
            return Ok(());
        }
        let most = BLOCK + 2 * self.segment_bytes;
        let length = end.next_multiple_of(GROWTH).min(most.max(end));
        self.backend.set_len(length)?;
        // So that the file has its blocks, not only its length.
        let zeros = vec![0; GROWTH as usize];
        while self.length < length {
            let count = (length - self.length).min(GROWTH);
            self.backend.write(self.length, &zeros[..count as usize])?;
            self.length += count;
        }
        Ok(())
    }
}

fn in_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK)
}

/// A log as it is found when the store is opened.
pub(super) struct Found<'a> {
    pub(super) backend: &'a dyn StorageBackend,
    pub(super) store: u64,
    pub(super) segment_bytes: u64,
}

impl Found<'_> {
    /// The frames with what is not in the tree yet, in their order; the tree holds all changes up
    /// to `durable`.
    pub(super) fn frames(&self, durable: Lsn) -> Result<Vec<Frame>, ReadError> {
        self.check_head()?;
        let length = self.backend.len()?;
        let mut chains = [0, 1].map(|segment| {
            let start = BLOCK + segment * self.segment_bytes;
            (start, (start + self.segment_bytes).min(length))
        });
        let mut found = Vec::new();
        for (start, end) in &mut chains {
            found.extend(self.chain(start, *end, durable)?);
        }
        found.sort_by_key(|frame| frame.head.after);
        let mut last = durable;
        for frame in &found {
            if frame.head.after != last {
                return Err(ReadError::Damaged("changes are missing in the log"));
            }
            last = frame.head.last;
        }
        for (start, end) in chains {
            self.expect_nothing_after(last, start, end)?;
        }
        Ok(found)
    }

    fn check_head(&self) -> Result<(), ReadError> {
        let mut head = vec![0; BLOCK as usize];
        if self.backend.len()? >= BLOCK {
            self.backend.read(0, &mut head)?;
        }
        if head == head_block(self.store) {
            return Ok(());
        }
        Err(ReadError::Damaged("the log is not the log of this store"))
    }

    /// The frames from `at` on that follow each other, without those that the tree holds. Moves
    /// `at` behind the last one.
    fn chain(&self, at: &mut u64, end: u64, durable: Lsn) -> Result<Vec<Frame>, ReadError> {
        let mut frames = Vec::new();
        let mut last = None;
        while let Some(frame) = self.frame(*at, end, |head| last.is_none_or(|l| l == head.after))? {
            last = Some(frame.head.last);
            *at += in_blocks(HEAD as u64 + frame.head.length);
            if frame.head.last > durable {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    /// A frame was written only once all before it were durable. So if there is one behind the
    /// last, what was between them was durable and is damaged.
    fn expect_nothing_after(&self, last: Lsn, start: u64, end: u64) -> Result<(), ReadError> {
        for at in (start..end).step_by(BLOCK as usize) {
            if self.frame(at, end, |head| head.after >= last)?.is_some() {
                return Err(ReadError::Damaged("a part of the log cannot be read"));
            }
        }
        Ok(())
    }

    /// The whole frame at this place, if there is one with such a head.
    fn frame(
        &self,
        at: u64,
        end: u64,
        wanted: impl Fn(&Head) -> bool,
    ) -> Result<Option<Frame>, ReadError> {
        let mut bytes = [0; HEAD];
        if at + HEAD as u64 > end {
            return Ok(None);
        }
        self.backend.read(at, &mut bytes)?;
        let head = Head::of(&bytes);
        let room = end - at - HEAD as u64;
        if head.length > room || head.last <= head.after || !wanted(&head) {
            return Ok(None);
        }
        let mut whole = vec![0; HEAD + head.length as usize];
        self.backend.read(at, &mut whole)?;
        if !head.fits(&whole, self.store) {
            return Ok(None);
        }
        Ok(Some(Frame { head, changes: Bytes::from(whole).slice(HEAD..) }))
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::store::embedded::generation::Generation;

    const STORE: u64 = 7;
    /// Two blocks: room for two short frames, or a longer one.
    const SEGMENT: u64 = 2 * BLOCK;

    fn new_log() -> Log {
        let backend = Box::new(InMemoryBackend::new());
        create(&*backend, STORE).unwrap();
        Log::new(backend, STORE, SEGMENT).unwrap()
    }

    /// Appends a frame with the one change after `after`.
    fn append(log: &mut Log, after: u64, length: usize) {
        let mut generation = Generation::after(Lsn(after), Vec::new());
        generation.next();
        generation.frame.resize(HEAD + length, after as u8);
        if !log.has_room(generation.frame.len()) {
            log.switch_for(generation.frame.len());
        }
        log.append(&mut generation.frame, &generation.span).unwrap();
    }

    fn found(log: &Log, durable: u64) -> Result<Vec<u64>, ReadError> {
        let found = Found { backend: &*log.backend, store: STORE, segment_bytes: SEGMENT };
        Ok(found.frames(Lsn(durable))?.iter().map(|frame| frame.head.last.0).collect())
    }

    fn flip(log: &Log, at: u64) {
        let mut byte = [0];
        log.backend.read(at, &mut byte).unwrap();
        log.backend.write(at, &[byte[0] ^ 1]).unwrap();
    }

    #[test]
    fn frames_are_found_in_their_order_across_segments() {
        let mut log = new_log();
        assert_eq!(found(&log, 0).unwrap(), [0; 0]);
        for after in 0..4 {
            append(&mut log, after, 10);
        }
        assert_eq!(found(&log, 0).unwrap(), [1, 2, 3, 4]);
        assert_eq!(found(&log, 3).unwrap(), [4]);
        append(&mut log, 4, 10);
        assert_eq!(found(&log, 2).unwrap(), [3, 4, 5], "the second frame is behind the fifth now");
        append(&mut log, 5, 5_000);
        assert_eq!(found(&log, 4).unwrap(), [5, 6], "the third and fourth are overwritten");
        assert!(matches!(found(&log, 3), Err(ReadError::Damaged(_))), "the fourth is missing");
    }

    #[test]
    fn a_frame_that_does_not_fit_anywhere_leaves_the_segment() {
        let mut log = new_log();
        append(&mut log, 0, 10);
        let before = (log.segment, log.next);
        let longer = SEGMENT as usize + 1;
        assert!(!log.has_room(longer));
        log.switch_for(longer);
        assert_eq!((log.segment, log.next), before);
        log.rewind();
        append(&mut log, 1, 10);
        assert_eq!(found(&log, 1).unwrap(), [2]);
    }

    #[test]
    fn a_damaged_frame_ends_the_log_only_if_it_is_the_last() {
        for (byte, expected) in [(0, None), (8, None), (35, None), (4096 + 35, Some(vec![1]))] {
            let mut log = new_log();
            append(&mut log, 0, 10);
            append(&mut log, 1, 10);
            flip(&log, BLOCK + byte);
            match (found(&log, 0), expected) {
                (Ok(frames), Some(expected)) => assert_eq!(frames, expected),
                (Err(ReadError::Damaged(_)), None) => {}
                (other, _) => panic!("byte {byte}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_log_of_another_store_is_refused() {
        let log = new_log();
        let found = Found { backend: &*log.backend, store: STORE + 1, segment_bytes: SEGMENT };
        assert!(matches!(found.frames(Lsn(0)), Err(ReadError::Damaged(_))));
        let empty = InMemoryBackend::new();
        let found = Found { backend: &empty, store: STORE, segment_bytes: SEGMENT };
        assert!(matches!(found.frames(Lsn(0)), Err(ReadError::Damaged(_))));
    }

    #[test]
    fn the_layout_of_the_file_is_fixed() {
        let mut log = new_log();
        append(&mut log, 0x0102, 1);
        let mut file = vec![0; BLOCK as usize + HEAD + 1];
        log.backend.read(0, &mut file).unwrap();
        assert_eq!(file[..24], *b"rpc-log\n\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0");
        let frame = &file[BLOCK as usize..];
        assert_eq!(frame[8..], *b"\x01\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x03\x01\0\0\0\0\0\0\x02");
        let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&frame[8..], STORE);
        assert_eq!(frame[..8], checksum.to_le_bytes());
        assert_eq!(log.backend.len().unwrap(), BLOCK + 2 * SEGMENT, "it grows up to its end");
    }
}
