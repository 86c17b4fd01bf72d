//! LEB128 integers and the cursor that decoders share.

use super::WireError;

/// The most bytes of an integer.
const LONGEST: usize = 10;

/// Where encoded bytes go.
pub(crate) trait Sink {
    fn byte(&mut self, byte: u8);
    fn bytes(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Appends an integer: seven bits a byte, low ones first, the top bit set on all but the last.
#[inline]
pub(crate) fn put(mut value: u64, out: &mut impl Sink) {
    while value >= 0x80 {
        out.byte((value as u8) | 0x80);
        value >>= 7;
    }
    out.byte(value as u8);
}

/// How many bytes [`put`] appends.
#[inline]
pub(crate) fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends bytes behind their length.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut impl Sink) {
    put(bytes.len() as u64, out);
    out.bytes(bytes);
}

/// A cursor over one frame's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { rest: body }
    }

    #[inline]
    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        let (&byte, rest) = self.rest.split_first().ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.middling_u64(what),
        }
    }

    /// An integer of two to four bytes: the number of nearly every call of a session.
    #[inline]
    fn middling_u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        let bits = |byte: u8, index: u32| u64::from(byte & 0x7f) << (7 * index);
        let (value, last, rest) = match *self.rest {
            [a, b, ref rest @ ..] if b < 0x80 => (bits(a, 0) | bits(b, 1), b, rest),
            [a, b, c, ref rest @ ..] if c < 0x80 => (bits(a, 0) | bits(b, 1) | bits(c, 2), c, rest),
            [a, b, c, d, ref rest @ ..] if d < 0x80 => {
                (bits(a, 0) | bits(b, 1) | bits(c, 2) | bits(d, 3), d, rest)
            }
            _ => return self.long_u64(what),
        };
        if last == 0 {
            return Err(WireError::BadInteger(what));
        }
        self.rest = rest;
        Ok(value)
    }

    /// An integer of more than one byte. Its last is not 0: then it would do without.
    fn long_u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(LONGEST).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == LONGEST - 1 && bits > 1 {
                return Err(WireError::BadInteger(what));
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 {
                    return Err(WireError::BadInteger(what));
                }
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        let cut_off = self.rest.len() < LONGEST;
        Err(if cut_off { WireError::Truncated(what) } else { WireError::BadInteger(what) })
    }

    #[inline]
    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        u32::try_from(self.u64(what)?).map_err(|_| WireError::BadInteger(what))
    }

    #[inline(always)]
    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        u16::try_from(self.u64(what)?).map_err(|_| WireError::BadInteger(what))
    }

    /// As many bytes as asked for.
    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], WireError> {
        let taken = self.take(N, what)?;
        Ok(taken.try_into().expect("take gives as many bytes as asked for"))
    }

    /// Bytes behind their length, which is checked against `limit` before anything else.
    pub(crate) fn bytes(
        &mut self,
        limit: usize,
        what: &'static str,
    ) -> Result<&'a [u8], WireError> {
        let size = self.u64(what)?;
        match usize::try_from(size) {
            Ok(len) if len <= limit => self.take(len, what),
            _ => Err(WireError::LimitExceeded { what, size, limit: limit as u64 }),
        }
    }

    /// Text behind its length.
    pub(crate) fn text(&mut self, limit: usize, what: &'static str) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes(limit, what)?).map_err(|_| WireError::NotText(what))
    }

    /// All that is left.
    #[inline]
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_trip_in_their_shortest_form() {
        for value in [0, 1, 127, 128, 300, 1 << 21, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put(value, &mut bytes);
            assert_eq!(bytes.len(), len(value), "{value}");
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.u64("value"), Ok(value));
            reader.end().unwrap();
        }
    }

    #[test]
    fn malformed_integers_are_refused() {
        let read = |bytes: &[u8]| Reader::new(bytes).u64("value");
        assert_eq!(read(&[0x80]), Err(WireError::Truncated("value")));
        assert_eq!(read(&[0x80, 0]), Err(WireError::BadInteger("value")), "padded");
        assert_eq!(read(&[0xff; 10]), Err(WireError::BadInteger("value")), "over 64 bits");
    }

    #[test]
    fn lengths_are_checked_before_anything_is_taken() {
        let mut bytes = Vec::new();
        put(u64::MAX, &mut bytes);
        let refused = Reader::new(&bytes).bytes(16, "name");
        assert!(matches!(refused, Err(WireError::LimitExceeded { what: "name", .. })));
    }

    #[test]
    fn the_longest_integers_are_read_to_their_last_bit() {
        let read = |continued: u8, count: usize, last: Option<u8>| {
            let bytes: Vec<u8> = std::iter::repeat_n(continued, count).chain(last).collect();
            Reader::new(&bytes).u64("value")
        };
        assert_eq!(read(0xff, 9, Some(1)), Ok(u64::MAX));
        assert_eq!(read(0x80, 9, Some(1)), Ok(1 << 63));
        assert_eq!(read(0x80, 9, Some(2)), Err(WireError::BadInteger("value")), "a 65th bit");
        assert_eq!(read(0xff, 9, Some(3)), Err(WireError::BadInteger("value")), "a 65th bit");
        assert_eq!(read(0x80, 9, None), Err(WireError::Truncated("value")));
        assert_eq!(read(0x80, 10, None), Err(WireError::BadInteger("value")), "it never ends");
        assert_eq!(read(0x81, 10, None), Err(WireError::BadInteger("value")));
        assert_eq!(Reader::new(&[0]).u64("value"), Ok(0));
    }
}
