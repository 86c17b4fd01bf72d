//! The encoded arguments of a call that runs, which its future holds and borrows from.

use crate::io_buffer;

/// What fills a cache line with the tag and the length.
const ROOM: usize = 62;
/// Where they begin. A first argument that is a text of less than 128 bytes then begins at a whole
/// word, and is checked for UTF-8 by words instead of bytes.
const START: usize = 5;
/// Arguments of at most so many bytes lie in the value itself.
const INLINE: usize = ROOM - START;

/// Bytes that the read buffer had.
pub(super) enum ArgumentBytes {
    /// So many of them.
    Inline(u8, [u8; ROOM]),
    /// In a buffer of [`io_buffer`].
    Long(Vec<u8>),
}

impl ArgumentBytes {
    #[inline]
    pub(super) fn copy(bytes: &[u8]) -> ArgumentBytes {
        if bytes.len() > INLINE {
            return ArgumentBytes::Long(io_buffer::copy(bytes));
        }
        let mut room = [0; ROOM];
        room[START..START + bytes.len()].copy_from_slice(bytes);
        ArgumentBytes::Inline(bytes.len() as u8, room)
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            ArgumentBytes::Inline(length, room) => &room[START..START + usize::from(*length)],
            ArgumentBytes::Long(bytes) => bytes,
        }
    }

    /// Lets go of them.
    #[inline]
    pub(super) fn put(self) {
        if let ArgumentBytes::Long(bytes) = self {
            io_buffer::put_message(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_as_they_are() {
        assert_eq!(size_of::<ArgumentBytes>(), 64);
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 5000] {
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
