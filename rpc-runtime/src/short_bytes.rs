//! Short bytes that several hold at once, in one allocation.

use bytes::Bytes;

/// A copy of these bytes, to be cloned.
///
/// [`Bytes`] that were a vector take a second allocation, for the count of their holders, when they
/// are first cloned. Here the count and the bytes lie together, as long as they are short.
pub(crate) fn share(bytes: &[u8]) -> Bytes {
    // With the count and the length, the sizes are what an allocator gives out anyway.
    match bytes.len() {
        0 => Bytes::new(),
        1..=47 => Bytes::from_owner(Short::<47>::of(bytes)),
        48..=111 => Bytes::from_owner(Short::<111>::of(bytes)),
        112..=239 => Bytes::from_owner(Short::<239>::of(bytes)),
        _ => Bytes::copy_from_slice(bytes),
    }
}

/// At most `N` bytes, and fewer than 256.
struct Short<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Short<N> {
    fn of(bytes: &[u8]) -> Short<N> {
        let mut short = Short { bytes: [0; N], length: bytes.len() as u8 };
        short.bytes[..bytes.len()].copy_from_slice(bytes);
        short
    }
}

impl<const N: usize> AsRef<[u8]> for Short<N> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_the_same_at_every_length() {
        for length in 0..300_usize {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let shared = share(&bytes);
            let other = shared.clone();
            assert_eq!((&shared[..], other.as_ptr()), (&bytes[..], shared.as_ptr()));
        }
    }
}
