//! [`Encoded`]: the bytes of a document's body, of a result, of an error.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// The most bytes that lie in the value itself: as many as make it no larger than [`Bytes`].
const INLINE: usize = 23;

/// An encoded value: a document's body, a method's result or its error.
///
/// Read it as the `[u8]` that it dereferences to. Cheap to clone: short ones, as results usually
/// are, lie in the value itself, and longer ones are shared.
///
/// ```
/// use rpc::store::Encoded;
///
/// let body = Encoded::from(br#"{"balance":100}"#);
/// assert_eq!(&body[..], br#"{"balance":100}"#);
/// ```
#[derive(Clone)]
pub struct Encoded(Repr);

#[derive(Clone)]
enum Repr {
    Inline(Inline),
    Shared(Bytes),
}

/// The bytes, and in the last place how many they are. Aligned so that it is moved by words: it is moved a
/// dozen times on its way from a call to its record, and what is moved by bytes waits for itself.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Inline([u8; INLINE + 1]);

impl Inline {
    const EMPTY: Inline = Inline([0; INLINE + 1]);

    /// At most `INLINE` bytes.
    #[inline]
    fn of(from: &[u8]) -> Inline {
        let mut inline = Inline::EMPTY;
        inline.fill(from);
        inline
    }

    /// Becomes these bytes, at most `INLINE`: by the first and the last word of them, which may overlap.
    #[inline]
    fn fill(&mut self, from: &[u8]) {
        let (to, length) = (&mut self.0, from.len());
        match length {
            16..=INLINE => {
                to[..16].copy_from_slice(&from[..16]);
                to[length - 8..length].copy_from_slice(&from[length - 8..]);
            }
            8..16 => {
                to[..8].copy_from_slice(&from[..8]);
                to[length - 8..length].copy_from_slice(&from[length - 8..]);
            }
            4..8 => {
                to[..4].copy_from_slice(&from[..4]);
                to[length - 4..length].copy_from_slice(&from[length - 4..]);
            }
            _ => {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = *from;
                }
            }
        }
        to[INLINE] = length as u8;
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.0[..usize::from(self.0[INLINE])]
    }
}

impl Encoded {
    /// No bytes, as `()` is encoded.
    #[must_use]
    pub const fn empty() -> Encoded {
        Encoded(Repr::Inline(Inline::EMPTY))
    }

    /// Whether so few bytes would lie in the value itself.
    #[inline]
    pub(crate) fn is_short(bytes: &[u8]) -> bool {
        bytes.len() <= INLINE
    }

    /// Becomes these bytes. Short ones are written where the value lies: to make it elsewhere and move it
    /// is to wait for it to be written.
    #[inline]
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Repr::Inline(inline) if Encoded::is_short(bytes) => inline.fill(bytes),
            _ => *self = Encoded::from(bytes),
        }
    }

    /// Becomes a clone of another.
    #[inline]
    pub(crate) fn copy_from(&mut self, other: &Encoded) {
        match (&mut self.0, &other.0) {
            (Repr::Inline(to), Repr::Inline(from)) => *to = *from,
            _ => *self = other.clone(),
        }
    }

    /// Becomes another, which may be anything then.
    #[inline]
    pub(crate) fn take_from(&mut self, other: &mut Encoded) {
        match (&mut self.0, &other.0) {
            (Repr::Inline(to), Repr::Inline(from)) => to.fill(from.as_slice()),
            _ => std::mem::swap(self, other),
        }
    }

    /// Whether it lies in the value itself.
    #[cfg(feature = "embedded")]
    pub(in crate::store) fn is_inline(&self) -> bool {
        matches!(self.0, Repr::Inline(_))
    }
}

impl Default for Encoded {
    fn default() -> Encoded {
        Encoded::empty()
    }
}

impl Deref for Encoded {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(inline) => inline.as_slice(),
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// A copy.
impl From<&[u8]> for Encoded {
    #[inline]
    fn from(from: &[u8]) -> Encoded {
        if from.len() > INLINE {
            return Encoded(Repr::Shared(share(from)));
        }
        Encoded(Repr::Inline(Inline::of(from)))
    }
}

/// A copy.
impl<const N: usize> From<&[u8; N]> for Encoded {
    fn from(from: &[u8; N]) -> Encoded {
        Encoded::from(&from[..])
    }
}

impl From<Vec<u8>> for Encoded {
    fn from(from: Vec<u8>) -> Encoded {
        match from.len() {
            0..=INLINE => Encoded::from(&from[..]),
            _ => Encoded(Repr::Shared(from.into())),
        }
    }
}

/// Long ones are shared, not copied.
impl From<Bytes> for Encoded {
    fn from(from: Bytes) -> Encoded {
        match from.len() {
            0..=INLINE => Encoded::from(&from[..]),
            _ => Encoded(Repr::Shared(from)),
        }
    }
}

/// Long ones are shared, not copied.
impl From<Encoded> for Bytes {
    fn from(from: Encoded) -> Bytes {
        match from.0 {
            Repr::Inline(inline) => Bytes::copy_from_slice(inline.as_slice()),
            Repr::Shared(bytes) => bytes,
        }
    }
}

/// By its bytes, wherever they lie.
impl PartialEq for Encoded {
    fn eq(&self, other: &Encoded) -> bool {
        **self == **other
    }
}

impl Eq for Encoded {}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// A copy of bytes that are too long to lie in the value.
///
/// [`Bytes`] that were a vector take a second allocation, for the count of their holders, when they
/// are first cloned. Here the count and the bytes lie together, as long as they are short.
fn share(bytes: &[u8]) -> Bytes {
    // With the count and the length, the sizes are what an allocator gives out anyway.
    match bytes.len() {
        0..=47 => Bytes::from_owner(Short::<47>::of(bytes)),
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
    fn what_is_encoded_is_the_same_at_every_length_and_from_every_source() {
        for length in 0..300_usize {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let made = [
                Encoded::from(&bytes[..]),
                Encoded::from(bytes.clone()),
                Encoded::from(Bytes::from(bytes.clone())),
            ];
            for encoded in made {
                let other = encoded.clone();
                assert_eq!((&encoded[..], &other[..]), (&bytes[..], &bytes[..]));
                let is_shared = encoded.as_ptr() == other.as_ptr();
                assert_eq!(is_shared, length > INLINE, "long ones are not copied");
                assert_eq!(Bytes::from(encoded), bytes);
            }
        }
    }

    #[test]
    fn it_is_no_larger_than_what_it_stands_for() {
        assert_eq!(size_of::<Encoded>(), size_of::<Bytes>());
        assert_eq!(Encoded::empty(), Encoded::from(b""));
        assert_eq!(format!("{:?}", Encoded::from(b"a\"\n")), r#"b"a\"\n""#);
    }
}
