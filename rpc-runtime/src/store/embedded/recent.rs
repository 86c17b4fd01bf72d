//! A record in memory, for as long as the tree does not hold it.

use super::generation::Lsn;
use super::results::Results;
use crate::id::ArgumentHash;
use crate::store::Lent;
use crate::store::sessions::Record;

/// A record that is not in the tree yet.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    /// The number of its commit.
    pub(super) lsn: Lsn,
    /// As the rules see it, and the tree.
    pub(super) record: Record,
}

impl Recent {
    pub(super) fn new(
        lsn: Lsn,
        hash: ArgumentHash,
        result: Lent<'_>,
        results: &mut Results,
    ) -> Recent {
        Recent { lsn, record: Record { hash, outcome: results.keep(result) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seq;

    #[test]
    fn a_record_takes_one_line_of_a_cache() {
        assert_eq!(size_of::<(Seq, Recent)>(), 64);
    }
}
