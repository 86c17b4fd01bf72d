//! The name of a document.

use std::cell::RefCell;
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
        NAMES.with(|names| match names.try_borrow_mut() {
            Ok(mut names) => names.make(collection, id),
            // The key's `Display` makes keys itself.
            Err(_) => Names::new().make(collection, id),
        })
    }

    /// A name that was checked when it was stored.
    #[cfg(any(feature = "cas", feature = "embedded"))]
    pub(in crate::store) fn stored(name: &str) -> DocKey {
        DocKey(name.into())
    }

    /// The whole name, `collection:id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

thread_local! {
    static NAMES: RefCell<Names> = const { RefCell::new(Names::new()) };
}

/// How many of the last names are kept on each thread: what a call touches.
const RECENT: usize = 4;

/// The last names that were made: a call names the same document as its anchor, when it reads it
/// and when it writes it.
struct Names {
    /// Where names are put together.
    scratch: String,
    /// The latest first.
    recent: Vec<DocKey>,
}

impl Names {
    const fn new() -> Names {
        Names { scratch: String::new(), recent: Vec::new() }
    }

    fn make(
        &mut self,
        collection: &'static str,
        id: &dyn fmt::Display,
    ) -> Result<DocKey, KeyError> {
        use fmt::Write as _;
        let name = &mut self.scratch;
        name.clear();
        name.push_str(collection);
        name.push(':');
        let start = name.len();
        write!(name, "{id}").expect("writing to a string cannot fail");
        if name.len() == start {
            return Err(KeyError::Empty(collection));
        }
        if name.len() > DocKey::MAX_LEN {
            let size = name.len();
            let shown = name.chars().take(32).collect();
            self.scratch = String::new();
            return Err(KeyError::TooLong(shown, size));
        }
        if let Some(known) = self.recent.iter().find(|known| *known.0 == **name) {
            return Ok(known.clone());
        }
        let key = DocKey(name.as_str().into());
        self.recent.truncate(RECENT - 1);
        self.recent.insert(0, key.clone());
        Ok(key)
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
        let names: Vec<String> = (0..9).map(|id| (id % 6).to_string()).collect();
        for id in names.iter().chain(&names) {
            let key = DocKey::new("account", id).unwrap();
            assert_eq!(key.as_str(), format!("account:{id}"), "made anew or known");
        }
        let long = "x".repeat(DocKey::MAX_LEN);
        assert!(matches!(DocKey::new("account", &long), Err(KeyError::TooLong(_, 248))));
    }
}
