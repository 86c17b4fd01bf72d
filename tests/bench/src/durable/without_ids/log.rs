//! The log: two segments of frames, one frame a generation, one write and one sync each.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use bytes::{Buf as _, Bytes};
use rpc::store::DocKey;
use xxhash_rust::xxh3::xxh3_64;

use super::state::{Documents, Generation, HEAD, State};
use super::{Shared, Write};

/// As the store's, by default.
pub(super) const SEGMENT: u64 = 64 << 20;
const BLOCK: usize = 4096;

/// What goes into the tree: all changes up to a number.
pub(super) type Batch = (Arc<Documents>, u64);

pub(super) struct Log {
    file: File,
    segment: u64,
    /// Where in the segment the next frame goes.
    next: u64,
}

impl Log {
    /// Opens or makes the log, and puts what the tree does not hold into memory.
    pub(super) fn open(path: &Path, state: &mut State) -> Result<Log, Box<dyn Error>> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() == 0 {
            file.write_all_at(&vec![0; 2 * SEGMENT as usize], 0)?;
        }
        file.sync_all()?;
        let mut frames = Vec::new();
        for segment in 0..2 {
            frames.extend(read_segment(&file, segment)?);
        }
        frames.sort_unstable_by_key(|frame| frame.after);
        let mut last = state.snapshot.last;
        frames.retain(|frame| frame.last > last);
        for frame in frames {
            if frame.after != last {
                return Err("changes are missing in the log".into());
            }
            replay(state, &frame)?;
            last = frame.last;
        }
        state.recovered(last);
        Ok(Log { file, segment: 0, next: 0 })
    }

    /// Makes generations durable until the store is closed or fails.
    pub(super) fn run(mut self, shared: &Shared, full: &SyncSender<Batch>) {
        while let Some(generation) = self.next(shared, full) {
            let Generation { mut frame, after, last, permits, flush } = generation;
            if let Err(error) = self.append(&mut frame, after, last) {
                return flush.finish(Err(shared.fail(error)));
            }
            shared.state.lock().expect("no panics").end_flush(frame);
            shared.room.add_permits(permits);
            flush.finish(Ok(()));
        }
    }

    fn next(&mut self, shared: &Shared, full: &SyncSender<Batch>) -> Option<Generation> {
        let mut state = shared.lock().ok()?;
        loop {
            if !state.active.is_empty() {
                let length = state.active.frame.len().next_multiple_of(BLOCK) as u64;
                if self.next + length <= SEGMENT {
                    return Some(state.begin_flush());
                }
                if state.old.is_none() {
                    let generation = state.begin_flush();
                    full.send((state.begin_checkpoint(), generation.last)).ok()?;
                    (self.segment, self.next) = (1 - self.segment, 0);
                    return Some(generation);
                }
            } else if state.closing {
                return None;
            } else {
                state.writer_idle = true;
            }
            state = shared.work.wait(state).expect("no panics");
            state.writer_idle = false;
            if state.failure.is_some() {
                return None;
            }
        }
    }

    fn append(&mut self, frame: &mut Vec<u8>, after: u64, last: u64) -> io::Result<()> {
        let length = (frame.len() - HEAD) as u64;
        for (at, number) in [(8, length), (16, after), (24, last)] {
            frame[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let checksum = xxh3_64(&frame[8..]);
        frame[..8].copy_from_slice(&checksum.to_le_bytes());
        frame.resize(frame.len().next_multiple_of(BLOCK), 0);
        self.file.write_all_at(frame, self.segment * SEGMENT + self.next)?;
        self.file.sync_data()?;
        self.next += frame.len() as u64;
        Ok(())
    }
}

/// A frame, read back.
struct Frame {
    after: u64,
    last: u64,
    changes: Bytes,
}

/// The frames of a segment that follow each other.
fn read_segment(file: &File, segment: u64) -> io::Result<Vec<Frame>> {
    let mut bytes = vec![0; SEGMENT as usize];
    file.read_exact_at(&mut bytes, segment * SEGMENT)?;
    let (mut rest, mut frames) = (Bytes::from(bytes), Vec::<Frame>::new());
    while rest.len() >= HEAD {
        let mut head = rest.clone();
        let (checksum, length) = (head.get_u64_le(), head.get_u64_le() as usize);
        let (after, last) = (head.get_u64_le(), head.get_u64_le());
        let follows = frames.last().is_none_or(|before| before.last == after);
        if length > head.len() || !follows || xxh3_64(&rest[8..HEAD + length]) != checksum {
            break;
        }
        let taken = (HEAD + length).next_multiple_of(BLOCK);
        frames.push(Frame { after, last, changes: head.split_to(length) });
        rest.advance(taken.min(rest.len()));
    }
    Ok(frames)
}

fn replay(state: &mut State, frame: &Frame) -> Result<(), Box<dyn Error>> {
    let mut rest = frame.changes.clone();
    for version in frame.after + 1..=frame.last {
        for _ in 0..rest.try_get_u8()? {
            let length = usize::from(rest.try_get_u8()?);
            let name = rest.split_to(length);
            let id = std::str::from_utf8(&name)?.split_once(':').ok_or("no key")?;
            // The collection is a name in the code; it has but one.
            let key = DocKey::new(if id.0 == "account" { "account" } else { "doc" }, &id.1)?;
            let body = match rest.try_get_u8()? {
                0 => None,
                _ => {
                    let length = rest.try_get_u32_le()? as usize;
                    Some(rest.split_to(length))
                }
            };
            state.put(version, [Write { key, body }]);
        }
    }
    Ok(())
}
