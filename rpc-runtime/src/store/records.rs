//! The records of one session in memory, by number.

use std::collections::VecDeque;

use super::sessions::Record;
use crate::id::Seq;

/// The records of one session, none of them below its watermark. Calls are recorded in about the
/// order in which they were made, so a new record nearly always goes to the end.
#[derive(Clone, Debug)]
pub(super) struct Records<R = Record> {
    /// By ascending number.
    by_seq: VecDeque<(Seq, R)>,
}

impl<R> Default for Records<R> {
    fn default() -> Records<R> {
        Records { by_seq: VecDeque::new() }
    }
}

impl<R> Records<R> {
    pub(super) fn get(&self, seq: Seq) -> Option<&R> {
        // New calls are asked for most.
        if self.by_seq.back().is_none_or(|(last, _)| *last < seq) {
            return None;
        }
        self.find(seq).ok().map(|index| &self.by_seq[index].1)
    }

    /// Keeps a record, and returns it where it lies.
    pub(super) fn insert(&mut self, seq: Seq, record: R) -> &mut R {
        let index = if self.by_seq.back().is_none_or(|(last, _)| *last < seq) {
            self.by_seq.push_back((seq, record));
            self.by_seq.len() - 1
        } else {
            match self.find(seq) {
                Ok(index) => {
                    self.by_seq[index].1 = record;
                    index
                }
                Err(index) => {
                    self.by_seq.insert(index, (seq, record));
                    index
                }
            }
        };
        &mut self.by_seq[index].1
    }

    pub(super) fn forget_below(&mut self, watermark: Seq) {
        while self.by_seq.front().is_some_and(|(seq, _)| *seq < watermark) {
            self.by_seq.pop_front();
        }
    }

    /// By ascending number.
    #[cfg(feature = "embedded")]
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Seq, R)> {
        self.by_seq.iter()
    }

    /// Keeps the records that fulfil the condition, and no room for others.
    #[cfg(feature = "embedded")]
    pub(super) fn retain(&mut self, keep: impl Fn(&R) -> bool) {
        self.by_seq.retain(|(_, record)| keep(record));
        self.by_seq.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_seq.len()
    }

    fn find(&self, seq: Seq) -> Result<usize, usize> {
        self.by_seq.binary_search_by_key(&seq, |(of, _)| *of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ArgumentHash;
    use crate::store::Outcome;

    fn record(hash: u64) -> Record {
        Record {
            hash: ArgumentHash(hash),
            outcome: Outcome::Success(crate::store::Encoded::empty()),
        }
    }

    #[test]
    fn records_are_found_in_whatever_order_they_came() {
        let mut records: Records = Records::default();
        for seq in [5, 3, 9, 4, 7, 3] {
            records.insert(Seq(seq), record(seq));
        }
        assert_eq!(records.len(), 5);
        let found = |records: &Records| -> Vec<u64> {
            (1..12).filter(|seq| records.get(Seq(*seq)) == Some(&record(*seq))).collect()
        };
        assert_eq!(found(&records), [3, 4, 5, 7, 9]);
        records.forget_below(Seq(5));
        assert_eq!(found(&records), [5, 7, 9]);
        records.forget_below(Seq(100));
        assert!(found(&records).is_empty());
    }
}
