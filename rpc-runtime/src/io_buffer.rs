//! Buffers that connections borrow only while they use them, so that an idle one holds none.

use std::cell::{Cell, RefCell};

/// What one read takes at most. At many calls in flight 16 KiB lets both ends work at once, where
/// larger reads make them wait for each other.
pub(crate) const READ_BYTES: usize = 16 << 10;
/// A write buffer larger than this is given back to the allocator when it is empty.
const KEPT_WRITE_BYTES: usize = 64 << 10;
/// Message buffers kept per thread, and the largest that is kept.
const KEPT_MESSAGES: usize = 256;
pub(crate) const KEPT_MESSAGE_BYTES: usize = 4 << 10;

thread_local! {
    static READ: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static MESSAGES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    /// The message buffer that came last: often the one that goes next.
    static LAST: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// This thread's read buffer.
pub(crate) fn take() -> Box<[u8]> {
    READ.take().unwrap_or_else(|| vec![0; READ_BYTES].into())
}

/// Gives the read buffer back.
pub(crate) fn put(buffer: Box<[u8]>) {
    READ.set(Some(buffer));
}

/// Lets go of an empty write buffer that a burst has made large.
pub(crate) fn shed(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_WRITE_BYTES {
        *buffer = Vec::new();
    }
}

/// An empty buffer for one message.
#[inline]
pub(crate) fn take_message() -> Vec<u8> {
    let last = LAST.take();
    if last.capacity() > 0 { last } else { take_earlier() }
}

fn take_earlier() -> Vec<u8> {
    MESSAGES.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives a message's buffer back.
#[inline]
pub(crate) fn put_message(mut buffer: Vec<u8>) {
    if (1..=KEPT_MESSAGE_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        let earlier = LAST.replace(buffer);
        if earlier.capacity() > 0 {
            put_earlier(earlier);
        }
    }
}

fn put_earlier(buffer: Vec<u8>) {
    MESSAGES.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MESSAGES {
            kept.push(buffer);
        }
    });
}
