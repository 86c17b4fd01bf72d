//! Acknowledgements: "I have the responses of all calls below the watermark, and of these above".
//!
//! An ack is a whole state, not a change, so a lost one is repaired by the next.

use super::varint::Sink;
use super::{Reader, WireError, varint};
use crate::id::Seq;

/// The most calls that a bitmap speaks of: the largest window that a server may grant.
pub(crate) const MAX_BITMAP_CALLS: u64 = 1 << 16;

/// An ack as it was received: bit `i` of the bitmap speaks of call `watermark + 1 + i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack<'a> {
    /// The first call that is not acknowledged.
    pub(crate) watermark: Seq,
    bitmap: &'a [u8],
}

impl<'a> Ack<'a> {
    pub(crate) fn new(watermark: Seq, bitmap: &'a [u8]) -> Ack<'a> {
        Ack { watermark, bitmap }
    }

    /// Whether it names calls above the watermark.
    #[inline]
    pub(crate) fn has_bitmap(&self) -> bool {
        !self.bitmap.is_empty()
    }

    /// The acknowledged calls above the watermark.
    pub(crate) fn above(&self) -> impl Iterator<Item = Seq> + 'a {
        let first = self.watermark.0.saturating_add(1);
        self.bitmap.iter().enumerate().flat_map(move |(index, &byte)| {
            (0..8)
                .filter(move |bit| byte >> bit & 1 == 1)
                .map(move |bit| Seq(first.saturating_add(index as u64 * 8).saturating_add(bit)))
        })
    }

    /// Appends the ack relative to the call that it travels with: one byte for up to 64 calls in
    /// flight, two for up to 8,192.
    pub(crate) fn put_beside(&self, seq: Seq, out: &mut impl Sink) {
        varint::put(self.beside(seq), out);
        self.put_bitmap(out);
    }

    /// What an ack begins with that travels with this call.
    #[inline]
    pub(super) fn beside(&self, seq: Seq) -> u64 {
        debug_assert!(self.watermark <= seq, "a request's own call is incomplete");
        self.head(seq.0 - self.watermark.0)
    }

    /// Appends the ack on its own.
    pub(crate) fn put_alone(&self, out: &mut impl Sink) {
        varint::put(self.head(self.watermark.0), out);
        self.put_bitmap(out);
    }

    #[inline]
    fn head(&self, value: u64) -> u64 {
        value << 1 | u64::from(self.has_bitmap())
    }

    fn put_bitmap(&self, out: &mut impl Sink) {
        if !self.bitmap.is_empty() {
            varint::put_bytes(self.bitmap, out);
        }
    }

    pub(crate) fn read_beside(seq: Seq, reader: &mut Reader<'a>) -> Result<Ack<'a>, WireError> {
        let (distance, bitmap) = Ack::read(reader)?;
        let watermark = seq.0.checked_sub(distance).filter(|&watermark| watermark > 0);
        Ok(Ack { watermark: Seq(watermark.ok_or(WireError::BadInteger("ack"))?), bitmap })
    }

    pub(crate) fn read_alone(reader: &mut Reader<'a>) -> Result<Ack<'a>, WireError> {
        let (watermark, bitmap) = Ack::read(reader)?;
        if watermark == 0 {
            return Err(WireError::BadInteger("ack"));
        }
        Ok(Ack { watermark: Seq(watermark), bitmap })
    }

    fn read(reader: &mut Reader<'a>) -> Result<(u64, &'a [u8]), WireError> {
        let head = reader.u64("ack")?;
        let bitmap = if head & 1 == 1 {
            reader.bytes((MAX_BITMAP_CALLS / 8) as usize, "ack bitmap")?
        } else {
            &[]
        };
        Ok((head >> 1, bitmap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_ack_takes_at_most_two_bytes() {
        let size = |in_flight: u64| {
            let mut out = Vec::new();
            Ack::new(Seq(1_000_000), &[]).put_beside(Seq(1_000_000 + in_flight), &mut out);
            out.len()
        };
        assert_eq!((size(0), size(63), size(64), size(8191)), (1, 1, 2, 2));
    }

    #[test]
    fn bitmap_names_the_calls_above() {
        let mut out = Vec::new();
        Ack::new(Seq(10), &[0b0000_0101, 0b1000_0000]).put_alone(&mut out);
        let mut reader = Reader::new(&out);
        let ack = Ack::read_alone(&mut reader).unwrap();
        reader.end().unwrap();
        assert_eq!(ack.watermark, Seq(10));
        assert_eq!(ack.above().collect::<Vec<_>>(), [Seq(11), Seq(13), Seq(26)]);
    }

    #[test]
    fn a_bitmap_is_no_longer_than_the_largest_window() {
        let longest = (MAX_BITMAP_CALLS / 8) as usize;
        let read = |bitmap: &[u8]| {
            let mut out = Vec::new();
            Ack::new(Seq(1), bitmap).put_alone(&mut out);
            Ack::read_alone(&mut Reader::new(&out)).map(|ack| ack.above().count())
        };
        assert_eq!(read(&vec![1; longest]), Ok(longest));
        assert!(matches!(
            read(&vec![1; longest + 1]),
            Err(WireError::LimitExceeded { what: "ack bitmap", .. })
        ));
    }

    #[test]
    fn ack_of_calls_never_made_is_refused() {
        let mut out = Vec::new();
        varint::put(8 << 1, &mut out);
        assert_eq!(
            Ack::read_beside(Seq(8), &mut Reader::new(&out)),
            Err(WireError::BadInteger("ack"))
        );
    }
}
