//! The lists of commits that are over, for later ones of the same thread: a call that ends where it
//! begins, as most do, needs no allocation for what it read and wrote.

use std::cell::Cell;

use super::{ReadVersion, Write};

/// What a run has read and written, empty.
type Lists = (Vec<ReadVersion>, Vec<Write>);

/// The largest list that is kept; few calls touch more documents.
const KEPT_DOCUMENTS: usize = 16;

thread_local! {
    static LISTS: Cell<Lists> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// Empty lists.
#[inline]
pub(crate) fn take() -> Lists {
    LISTS.take()
}

/// Gives lists back.
#[inline]
pub(super) fn put(mut reads: Vec<ReadVersion>, mut writes: Vec<Write>) {
    if reads.capacity().max(writes.capacity()) <= KEPT_DOCUMENTS {
        reads.clear();
        writes.clear();
        LISTS.set((reads, writes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DocKey, Version};

    #[test]
    fn lists_come_back_empty_with_their_room_unless_they_are_large() {
        let write = || Write { key: DocKey::new("account", &"alice").unwrap(), body: None };
        let read =
            ReadVersion::taken(write().key, super::super::Versioned::new(Version(1), None)).0;
        put(vec![read], vec![write()]);
        let (reads, writes) = take();
        assert_eq!((reads.len(), reads.capacity(), writes.len(), writes.capacity()), (0, 1, 0, 1));
        assert_eq!(take().1.capacity(), 0, "they are given out once");
        put(Vec::new(), (0..=KEPT_DOCUMENTS).map(|_| write()).collect());
        assert_eq!(take().1.capacity(), 0, "the largest are not kept");
    }
}
