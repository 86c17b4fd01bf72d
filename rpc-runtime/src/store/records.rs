//! The records of one session in memory, by number.

use std::collections::VecDeque;

use super::sessions::Record;
use crate::id::Seq;

/// The records of one session, none of them below its watermark. Calls are recorded in about the
/// order in which they were made, so a new record nearly always goes to the end.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// By ascending number.
    by_seq: VecDeque<(Seq, Record)>,
}

impl Records {
    pub(super) fn get(&self, seq: Seq) -> Option<&Record> {
        // New calls are asked for most.
        if self.by_seq.back().is_none_or(|(last, _)| *last < seq) {
            return None;
        }
        self.find(seq).ok().map(|index| &self.by_seq[index].1)
    }

    pub(super) fn insert(&mut self, seq: Seq, record: Record) {
        if self.by_seq.back().is_none_or(|(last, _)| *last < seq) {
            return self.by_seq.push_back((seq, record));
        }
        match self.find(seq) {
            Ok(index) => self.by_seq[index].1 = record,
            Err(index) => self.by_seq.insert(index, (seq, record)),
        }
    }

    pub(super) fn forget_below(&mut self, watermark: Seq) {
        while self.by_seq.front().is_some_and(|(seq, _)| *seq < watermark) {
            self.by_seq.pop_front();
        }
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
        Record { hash: ArgumentHash(hash), outcome: Outcome::Success(bytes::Bytes::new()) }
    }

    #[test]
    fn records_are_found_in_whatever_order_they_came() {
        let mut records = Records::default();
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
