//! The name of a document.

use std::fmt;
use std::sync::Arc;

/// The checked name of a document in the store: its collection and its id within it, as
/// `collection:id`.
///
/// Cheap to clone. At most [`DocKey::MAX_LEN`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocKey(Arc<str>);

/// A document name that no store would take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Longer than [`DocKey::MAX_LEN`].
    #[error("the document key `{0}…` is {1} bytes long, at most {max} are allowed: shorten the Display of its key type", max = DocKey::MAX_LEN)]
    TooLong(String, usize),
    /// No id.
    #[error("a document key of collection `{0}` is empty: its key type must display as something")]
    Empty(&'static str),
}

impl DocKey {
    /// The longest key, in bytes: what the strictest store behind this trait takes (Couchbase's
    /// 250 with its collection prefix), so that data can move between stores.
    pub const MAX_LEN: usize = 240;

    /// Names the document `id` of `collection`.
    ///
    /// # Errors
    /// If the id is empty or the whole is longer than [`DocKey::MAX_LEN`].
    pub fn new(collection: &'static str, id: &dyn fmt::Display) -> Result<DocKey, KeyError> {
        use fmt::Write as _;
        let mut name = String::with_capacity(64);
        name.push_str(collection);
        name.push(':');
        let start = name.len();
        write!(name, "{id}").expect("writing to a string cannot fail");
        if name.len() == start {
            return Err(KeyError::Empty(collection));
        }
        if name.len() > DocKey::MAX_LEN {
            return Err(KeyError::TooLong(name.chars().take(32).collect(), name.len()));
        }
        Ok(DocKey(name.into()))
    }

    /// A name that was checked when it was stored.
    #[cfg(feature = "cas")]
    pub(in crate::store) fn stored(name: &str) -> DocKey {
        DocKey(name.into())
    }

    /// The whole name, `collection:id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DocKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked() {
        assert_eq!(DocKey::new("account", &"alice").unwrap().as_str(), "account:alice");
        assert_eq!(DocKey::new("account", &""), Err(KeyError::Empty("account")));
        let long = "x".repeat(DocKey::MAX_LEN);
        assert!(matches!(DocKey::new("account", &long), Err(KeyError::TooLong(_, 248))));
    }
}
