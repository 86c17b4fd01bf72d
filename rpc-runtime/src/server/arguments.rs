//! The encoded arguments of a call that runs, which its future holds and borrows from.

use crate::io_buffer;

/// Where they begin in their buffer. A first argument that is a text of less than 128 bytes then begins at a
/// whole word, and is checked for UTF-8 by words instead of bytes.
const START: usize = 7;

/// A copy of bytes that the read buffer had, in a buffer of [`io_buffer`]. (Bytes that lie in the value itself
/// would be moved with it into the future, and each move would wait for the one before to be written.)
pub(super) struct ArgumentBytes(Vec<u8>);

impl ArgumentBytes {
    #[inline]
    pub(super) fn copy(bytes: &[u8]) -> ArgumentBytes {
        let mut buffer = io_buffer::take_message();
        buffer.reserve(START + bytes.len());
        buffer.extend_from_slice(&[0; START]);
        buffer.extend_from_slice(bytes);
        ArgumentBytes(buffer)
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0[START..]
    }

    /// Lets go of them.
    #[inline]
    pub(super) fn put(self) {
        io_buffer::put_message(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_as_they_are() {
        for length in [0, 1, 57, 5000] {
            let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let kept = ArgumentBytes::copy(&bytes);
            assert_eq!(kept.as_slice(), bytes, "{length} bytes");
            kept.put();
        }
    }

    #[test]
    fn a_first_text_begins_at_a_whole_word() {
        let kept = ArgumentBytes::copy(b"\x05alice");
        assert_eq!(kept.as_slice()[1..].as_ptr().align_offset(align_of::<usize>()), 0);
    }
}
