//! Documents as they were read: their versions, and what a store wants to be given back with them.

#[cfg(feature = "cas")]
use std::sync::Arc;

use super::{DocKey, Encoded};

/// The version of a document: changes with every write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A document as it was read. `body` is `None` where there is no document; two absences are equal
/// whatever their versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The version that was read.
    pub version: Version,
    /// The encoded document.
    pub body: Option<Encoded>,
    memo: Memo,
}

/// What there is to know of a document that was read, beside its body.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct AtHand {
    version: Version,
    /// As for [`Memo::Snapshot`].
    #[cfg(feature = "embedded")]
    snapshot: Option<u64>,
}

impl AtHand {
    /// This version; 0 if there is no document.
    #[inline]
    pub(in crate::store) fn of(version: Version) -> AtHand {
        AtHand {
            version,
            #[cfg(feature = "embedded")]
            snapshot: None,
        }
    }

    /// A document as it was read, whose body goes there.
    #[cfg(feature = "embedded")]
    pub(in crate::store) fn taken(document: Versioned, body: &mut Option<Encoded>) -> AtHand {
        *body = document.body;
        let snapshot = match document.memo {
            Memo::Snapshot(number) => Some(number),
            _ => None,
        };
        AtHand { version: document.version, snapshot }
    }
}

/// What a run read, for the comparison at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadVersion {
    /// The document.
    pub key: DocKey,
    /// Its version when it was read.
    pub version: Version,
    /// Whether it was there.
    pub present: bool,
    memo: Memo,
}

/// What a store wants to be given back with a read.
#[derive(Clone, Default)]
enum Memo {
    #[default]
    Nothing,
    /// A store that keeps its records in documents checks them in the very version that it
    /// replaces, and need not read that again.
    #[cfg(feature = "cas")]
    Meta(Arc<dyn std::any::Any + Send + Sync>),
    /// Where a store has the document from: if it has not moved on since, nor has the document.
    #[cfg(feature = "embedded")]
    Snapshot(u64),
}

impl Versioned {
    /// A document as a store read it.
    #[must_use]
    pub fn new(version: Version, body: Option<Encoded>) -> Versioned {
        Versioned { version, body, memo: Memo::default() }
    }

    /// As it was read, with what the store wants to be given back.
    #[cfg(feature = "cas")]
    pub(in crate::store) fn with_memo(
        mut self,
        memo: Arc<dyn std::any::Any + Send + Sync>,
    ) -> Versioned {
        self.memo = Memo::Meta(memo);
        self
    }

    /// As it was read in the snapshot of this number.
    #[cfg(feature = "embedded")]
    pub(in crate::store) fn of_snapshot(mut self, number: u64) -> Versioned {
        self.memo = Memo::Snapshot(number);
        self
    }
}

impl ReadVersion {
    /// The read of this document.
    #[must_use]
    pub fn new(key: DocKey, document: &Versioned) -> ReadVersion {
        ReadVersion {
            key,
            version: document.version,
            present: document.body.is_some(),
            memo: document.memo.clone(),
        }
    }

    /// The read of a document that its store had at hand.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn at_hand(key: DocKey, document: AtHand, present: bool) -> ReadVersion {
        #[cfg(feature = "embedded")]
        let memo = document.snapshot.map_or(Memo::Nothing, Memo::Snapshot);
        #[cfg(not(feature = "embedded"))]
        let memo = Memo::Nothing;
        ReadVersion { key, version: document.version, present, memo }
    }

    /// The read of this document, and its body.
    pub(crate) fn taken(key: DocKey, document: Versioned) -> (ReadVersion, Option<Encoded>) {
        let Versioned { version, body, memo } = document;
        (ReadVersion { key, version, present: body.is_some(), memo }, body)
    }

    /// What the store wanted to be given back.
    #[cfg(feature = "cas")]
    pub(in crate::store) fn memo<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        match &self.memo {
            Memo::Meta(memo) => Arc::clone(memo).downcast().ok(),
            _ => None,
        }
    }

    /// The number of the snapshot in which it was read, if it was read in one.
    #[cfg(feature = "embedded")]
    pub(in crate::store) fn snapshot(&self) -> Option<u64> {
        match self.memo {
            Memo::Snapshot(number) => Some(number),
            _ => None,
        }
    }

    /// Whether what was read is still so; `current` is the version of the document, if there is
    /// one now.
    pub(in crate::store) fn still_holds(&self, current: Option<Version>) -> bool {
        match current {
            Some(version) => self.present && version == self.version,
            None => !self.present,
        }
    }
}

/// The version says it all: memos are not compared.
impl PartialEq for Memo {
    fn eq(&self, _: &Memo) -> bool {
        true
    }
}

impl Eq for Memo {}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Memo::Nothing => "Memo",
            #[allow(unreachable_patterns, reason = "depends on the features")]
            _ => "Memo(..)",
        })
    }
}
