//! States as numbers, and a set of such numbers that takes little room.

use std::hash::{Hash, Hasher};

/// Two of a hundred million states have the same with a probability of 1 in 3,700, and of a thousand
/// million with 1 in 37: then one of the two is not looked at.
pub(super) fn fingerprint(state: &impl Hash) -> u64 {
    let mut mixer = Mixer { mixed: 0x243f_6a88_85a3_08d3, gathered: 0, bytes: 0 };
    state.hash(&mut mixer);
    mixer.finish()
}

/// Gathers the many small fields of a state into words, and folds a product of 128 bits for each.
struct Mixer {
    mixed: u64,
    gathered: u64,
    bytes: u32,
}

impl Mixer {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.mixed ^ word.wrapping_add(0x9e37_79b9_7f4a_7c15))
            * 0xa076_1d64_78bd_642f_u128;
        self.mixed = (product as u64) ^ ((product >> 64) as u64);
    }

    fn gather(&mut self, value: u64, bytes: u32) {
        if self.bytes + bytes > 8 {
            let word = std::mem::take(&mut self.gathered);
            self.bytes = 0;
            self.mix(word);
        }
        self.gathered |= value << (8 * self.bytes);
        self.bytes += bytes;
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        let mut last = Mixer { ..*self };
        last.mix(self.gathered);
        last.mix(u64::from(self.bytes));
        last.mixed
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.gather(u64::from(*byte), 1));
    }

    fn write_u8(&mut self, value: u8) {
        self.gather(u64::from(value), 1);
    }

    fn write_u16(&mut self, value: u16) {
        self.gather(u64::from(value), 2);
    }

    /// What enums write for their variants.
    fn write_isize(&mut self, value: isize) {
        debug_assert!((0..256).contains(&value), "a variant's number is small");
        self.gather(value as u64 & 0xff, 1);
    }

    /// The lengths of arrays.
    fn write_usize(&mut self, value: usize) {
        debug_assert!(value < 256, "an array in a state is short");
        self.gather(value as u64 & 0xff, 1);
    }

    fn write_u64(&mut self, value: u64) {
        self.gather(value & 0xffff_ffff, 4);
        self.gather(value >> 32, 4);
    }
}

/// For keys that are hashes.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are u64");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A set of fingerprints: ten to twelve bytes each.
pub(super) struct Fingerprints {
    /// Each grows by itself, so that there is never much that stands twice.
    parts: Vec<Part>,
    len: usize,
}

/// Fingerprints with the same first bits. Zero is a vacant place; a fingerprint stands at the place
/// that its other bits are in proportion to, or behind it.
struct Part {
    places: Vec<u64>,
    len: usize,
}

const PART_BITS: u32 = 8;

impl Default for Fingerprints {
    fn default() -> Fingerprints {
        let part = || Part { places: vec![0; 16], len: 0 };
        Fingerprints { parts: (0..1 << PART_BITS).map(|_| part()).collect(), len: 0 }
    }
}

impl Fingerprints {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, fingerprint: u64) -> bool {
        let part = &self.parts[(fingerprint >> (64 - PART_BITS)) as usize];
        part.places[part.place_of(fingerprint.max(1))] != 0
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, fingerprint: u64) -> bool {
        let part = &mut self.parts[(fingerprint >> (64 - PART_BITS)) as usize];
        let is_new = part.insert(fingerprint.max(1));
        self.len += usize::from(is_new);
        is_new
    }
}

impl Part {
    fn insert(&mut self, fingerprint: u64) -> bool {
        let place = self.place_of(fingerprint);
        if self.places[place] != 0 {
            return false;
        }
        self.places[place] = fingerprint;
        self.len += 1;
        if self.len * 8 > self.places.len() * 7 {
            let more = vec![0; self.places.len() + self.places.len() / 4];
            for moved in std::mem::replace(&mut self.places, more) {
                let place = if moved == 0 { continue } else { self.place_of(moved) };
                self.places[place] = moved;
            }
        }
        true
    }

    /// Where it stands, or would.
    fn place_of(&self, fingerprint: u64) -> usize {
        let len = self.places.len();
        let rest = fingerprint << PART_BITS;
        let mut place = ((u128::from(rest) * len as u128) >> 64) as usize;
        while self.places[place] != 0 && self.places[place] != fingerprint {
            place = if place + 1 == len { 0 } else { place + 1 };
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Fingerprints, fingerprint};

    #[test]
    fn the_set_is_a_set() {
        let (mut set, mut known) = (Fingerprints::default(), HashSet::new());
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            let one = fingerprint(&rng.u16(..));
            assert_eq!(set.contains(one), known.contains(&one));
            assert_eq!(set.insert(one), known.insert(one));
        }
        assert_eq!(set.len(), known.len());
    }

    #[test]
    fn neighbours_differ() {
        let all =
            (0u8..=255).flat_map(|a| (0u8..=255).map(move |b| fingerprint(&(a, b, Some(7u16)))));
        assert_eq!(all.collect::<HashSet<_>>().len(), 1 << 16);
    }
}
