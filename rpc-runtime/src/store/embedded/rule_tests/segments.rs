//! Frames in the segments of the log.

use std::sync::Arc;

use super::*;
use crate::id::ClientId;
use crate::store::Lent;
use crate::store::embedded::frame::{self, Change, HEAD};
use crate::store::embedded::generation::{Lsn, Span};
use crate::store::embedded::log::{self, BLOCK, Found, Log};

const STORE: u64 = 7;
const MIB: u64 = 1 << 20;

fn new_log(image: &Image, segment_bytes: u64) -> Log {
    log::create(image, STORE).unwrap();
    image.written();
    Log::new(Box::new(image.clone()), STORE, segment_bytes).unwrap()
}

/// Appends a frame with changes of this length, of which the last is the one after `after`.
fn append(log: &mut Log, after: u64, length: usize) {
    let mut frame = vec![1; HEAD + length];
    let span = Span { after: Lsn(after), last: Lsn(after + 1), flush: Arc::default() };
    assert!(log.has_room(frame.len()));
    log.append(&mut frame, &span).unwrap();
}

fn found(image: &Image, segment_bytes: u64, durable: u64) -> Vec<u64> {
    let found = Found { backend: image, store: STORE, segment_bytes };
    let frames = found.frames(Lsn(durable)).unwrap();
    frames.iter().map(|frame| frame.head.last.0).collect()
}

#[test]
fn a_segment_is_half_of_the_log_in_whole_blocks() {
    let block = BLOCK as usize;
    assert_eq!(log::segment_bytes(32 << 20), 16 << 20);
    assert_eq!(log::segment_bytes(6 * block), 3 * BLOCK);
    assert_eq!(log::segment_bytes(6 * block + block / 2), 3 * BLOCK);
    assert_eq!(log::segment_bytes(0), BLOCK, "one block at least");
}

#[test]
fn the_file_grows_ahead_and_has_its_blocks_written_once() {
    let image = Image::default();
    let mut log = new_log(&image, 2 * MIB);
    append(&mut log, 0, 10);
    assert_eq!(image.len().unwrap(), MIB);
    let block = BLOCK as usize;
    assert_eq!(image.written(), [(BLOCK, MIB as usize - block), (BLOCK, block)]);
    append(&mut log, 1, 10);
    assert_eq!((image.written(), image.len().unwrap()), (vec![(2 * BLOCK, block)], MIB));
    append(&mut log, 2, MIB as usize);
    assert_eq!(image.len().unwrap(), 2 * MIB);
    let frame = (3 * BLOCK, MIB as usize + block);
    assert_eq!(image.written(), [(MIB, MIB as usize), frame]);
    assert_eq!(found(&image, 2 * MIB, 0), [1, 2, 3]);
}

#[test]
fn frames_of_several_blocks_follow_each_other() {
    let image = Image::default();
    let mut log = new_log(&image, 8 * BLOCK);
    for (after, length) in (0..).zip([5_000, 10, 9_000, 10]) {
        append(&mut log, after, length);
    }
    assert_eq!(found(&image, 8 * BLOCK, 0), [1, 2, 3, 4]);
    assert_eq!(found(&image, 8 * BLOCK, 2), [3, 4]);
}

/// A frame that the tree holds is in nobody's way, wherever it was overwritten.
#[test]
fn an_old_frame_behind_a_gap_is_no_damage() {
    let image = Image::default();
    let mut log = new_log(&image, 8 * BLOCK);
    for (after, length) in (0..).zip([10, 5_000, 10]) {
        append(&mut log, after, length);
    }
    log.rewind();
    append(&mut log, 3, 5_000);
    assert_eq!(found(&image, 8 * BLOCK, 3), [4]);
}

#[test]
fn a_frame_may_fill_its_segment() {
    let image = Image::default();
    let mut log = new_log(&image, 2 * BLOCK);
    append(&mut log, 0, 2 * BLOCK as usize - HEAD);
    assert!(!log.has_room(1));
    assert_eq!(found(&image, 2 * BLOCK, 0), [1]);
}

#[test]
fn a_head_that_says_more_than_its_segment_has_is_none() {
    let image = Image::default();
    let mut log = new_log(&image, 2 * BLOCK);
    append(&mut log, 0, 10);
    let mut head = vec![0; HEAD];
    head[8..16].copy_from_slice(&(2 * BLOCK - HEAD as u64 + 1).to_le_bytes());
    head[24] = 9;
    image.write(3 * BLOCK, &head).unwrap();
    assert_eq!(found(&image, 2 * BLOCK, 0), [1]);
}

#[test]
fn a_frame_may_end_with_a_body() {
    let session = SessionId { client: ClientId(1), incarnation: crate::id::Incarnation::FIRST };
    let Commit { call, writes, result, .. } = put(session, 2, "a", b"body");
    let mut frame = Vec::new();
    frame::put_commit(&mut frame, &call, Lent::Whole(&result), &writes);
    let back = frame::changes::<()>(frame.into()).unwrap();
    let [Change::Commit { writes: written, .. }] = &back[..] else { panic!("{back:?}") };
    assert_eq!(written, &writes);
}
