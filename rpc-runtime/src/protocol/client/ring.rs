//! The calls of a session by number.

use super::call::{Call, CallState};
use crate::id::Seq;
use crate::rule::{Rule, kept};
use crate::wire::ack::MAX_BITMAP_CALLS;

/// The places of a ring that holds a first call.
const FEWEST_PLACES: usize = 16;

/// The calls of a session by number, from the oldest that is still of interest on.
#[derive(Debug)]
pub(super) struct CallRing {
    base: Seq,
    /// How many there are, from `base` on.
    len: usize,
    /// Call `seq` lies at `seq` modulo their number, which is a power of two. Places are made once
    /// and used again, so that a call is never moved.
    places: Vec<Call>,
    /// The first incomplete call: everything below is acknowledged.
    watermark: Seq,
    /// Complete calls above the watermark.
    complete_above: u64,
}

impl CallRing {
    pub(super) fn new() -> CallRing {
        CallRing {
            base: Seq::FIRST,
            len: 0,
            places: Vec::new(),
            watermark: Seq::FIRST,
            complete_above: 0,
        }
    }

    /// The ring of a client that goes on: nothing before `base` is of interest, the next call is
    /// `next`, and `open` of those between them are not over.
    pub(super) fn resumed(base: Seq, next: Seq, open: usize) -> CallRing {
        let len = (next.0 - base.0) as usize;
        let places = if len == 0 { 0 } else { len.next_power_of_two().max(FEWEST_PLACES) };
        let complete_above = (len - open) as u64;
        CallRing {
            base,
            len,
            places: std::iter::repeat_with(Call::vacant).take(places).collect(),
            watermark: base,
            complete_above,
        }
    }

    #[inline]
    pub(super) fn next_seq(&self) -> Seq {
        Seq(self.base.0 + self.len as u64)
    }

    #[inline]
    pub(super) fn watermark(&self) -> Seq {
        self.watermark
    }

    #[inline]
    pub(super) fn complete_above(&self) -> u64 {
        self.complete_above
    }

    /// How many calls beyond the watermark there are.
    #[inline]
    pub(super) fn beyond_watermark(&self) -> u64 {
        self.next_seq().0 - self.watermark.0
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The place of the next call, whose number this is. Whatever lay there is over.
    #[inline]
    pub(super) fn push(&mut self) -> (Seq, &mut Call) {
        if self.len == self.places.len() {
            self.grow();
        }
        let seq = self.next_seq();
        self.len += 1;
        let place = self.place(seq);
        (seq, &mut self.places[place])
    }

    #[inline]
    pub(super) fn get(&self, seq: Seq) -> Option<&Call> {
        self.holds(seq).then(|| &self.places[self.place(seq)])
    }

    #[inline]
    pub(super) fn get_mut(&mut self, seq: Seq) -> Option<&mut Call> {
        let place = self.place(seq);
        if self.holds(seq) { self.places.get_mut(place) } else { None }
    }

    #[inline]
    pub(super) fn pending_mut(&mut self, seq: Seq) -> Option<&mut Call> {
        self.get_mut(seq).filter(|call| call.is_pending())
    }

    /// All calls of interest with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Seq, &Call)> {
        let first = self.base.0;
        (first..first + self.len as u64).map(|seq| (Seq(seq), &self.places[self.place(Seq(seq))]))
    }

    /// A call has become complete: moves the watermark as far as it goes. Returns whether it moved.
    pub(super) fn note_complete(&mut self, seq: Seq) -> bool {
        if seq > self.watermark {
            self.complete_above += 1;
            if kept(Rule::AckUpToGap) {
                return false;
            }
        }
        if !kept(Rule::AckUpToGap) {
            self.watermark = self.watermark.max(seq.next());
            return true;
        }
        self.watermark = self.watermark.next();
        while self.get(self.watermark).is_some_and(Call::is_over) {
            self.watermark = self.watermark.next();
            self.complete_above -= 1;
        }
        true
    }

    /// Lets go of calls that are over and taken, oldest first.
    #[inline]
    pub(super) fn trim(&mut self) {
        while self.base < self.watermark {
            let place = self.place(self.base);
            if self.places[place].state != CallState::Vacant {
                return;
            }
            self.base = self.base.next();
            self.len -= 1;
        }
    }

    /// The complete calls above the watermark as a bitmap: bit `i` is call `watermark + 1 + i`.
    pub(super) fn bitmap(&self) -> Vec<u8> {
        let mut bitmap = Vec::new();
        if self.complete_above == 0 {
            return bitmap;
        }
        let first = self.watermark.0 + 1;
        let last = self.next_seq().0.min(first + MAX_BITMAP_CALLS);
        for seq in first..last {
            let bit = seq - first;
            if self.get(Seq(seq)).is_some_and(Call::is_over) {
                bitmap.resize(bit as usize / 8 + 1, 0);
                bitmap[bit as usize / 8] |= 1 << (bit % 8);
            }
        }
        bitmap
    }

    #[inline]
    fn holds(&self, seq: Seq) -> bool {
        seq.0.wrapping_sub(self.base.0) < self.len as u64
    }

    #[inline]
    fn place(&self, seq: Seq) -> usize {
        seq.0 as usize & self.places.len().wrapping_sub(1)
    }

    /// Doubles the places. The calls move to where their numbers put them then.
    #[cold]
    fn grow(&mut self) {
        let count = (self.places.len() * 2).max(FEWEST_PLACES);
        let mut places: Vec<Call> = std::iter::repeat_with(Call::vacant).take(count).collect();
        for seq in self.base.0..self.base.0 + self.len as u64 {
            let from = self.place(Seq(seq));
            std::mem::swap(&mut places[seq as usize & (count - 1)], &mut self.places[from]);
        }
        self.places = places;
    }
}
