//! The name of a document.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// The checked name of a document in the store: its collection and its id within it, as
/// `collection:id`.
///
/// Cheap to clone. At most [`DocKey::MAX_LEN`] bytes.
// One word: a call hands its keys on many times, and more would be written and read again each time.
#[derive(Clone)]
pub struct DocKey(Arc<Name>);

struct Name {
    /// Of the text, so that tables need not read it.
    hash: u64,
    text: Text,
}

/// The most bytes of a text that lies beside its hash: with the count of its holders they fill a cache line.
const SHORT: usize = 38;

enum Text {
    Short(u8, [u8; SHORT]),
    Long(Box<str>),
}

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
        DocKey::of(collection, id)
    }

    /// As [`new`](DocKey::new).
    pub(crate) fn of<D: fmt::Display + ?Sized>(
        collection: &'static str,
        id: &D,
    ) -> Result<DocKey, KeyError> {
        DocKey::if_valid(collection, id).ok_or_else(|| KeyError::of(collection, id))
    }

    /// As [`new`](DocKey::new); `None` if it is none that a store would take.
    pub(crate) fn if_valid<D: fmt::Display + ?Sized>(
        collection: &'static str,
        id: &D,
    ) -> Option<DocKey> {
        NAMES.with(|names| match names.try_borrow_mut() {
            Ok(mut names) => names.get_or_insert_default().name(collection, id),
            // A `Display` that makes names itself.
            Err(_) => Names::default().name(collection, id),
        })
    }

    /// Whether [`of`](DocKey::of) makes a name of this.
    #[inline]
    pub(crate) fn check<D: fmt::Display + ?Sized>(
        collection: &'static str,
        id: &D,
    ) -> Result<(), KeyError> {
        use fmt::Write as _;
        let mut length = Length(0);
        write!(length, "{id}").expect("counting cannot fail");
        match collection.len() + 1 + length.0 {
            whole if length.0 > 0 && whole <= DocKey::MAX_LEN => Ok(()),
            _ => Err(KeyError::of(collection, id)),
        }
    }

    /// A name that was checked when it was stored.
    #[cfg(any(feature = "cas", feature = "embedded"))]
    pub(in crate::store) fn stored(name: &str) -> DocKey {
        DocKey::made(hash(name), name)
    }

    fn made(hash: u64, name: &str) -> DocKey {
        let mut short = [0; SHORT];
        let text = match short.get_mut(..name.len()) {
            Some(room) => {
                room.copy_from_slice(name.as_bytes());
                Text::Short(name.len() as u8, short)
            }
            None => Text::Long(name.into()),
        };
        DocKey(Arc::new(Name { hash, text }))
    }

    /// The whole name, `collection:id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0.text {
            Text::Short(..) => std::str::from_utf8(self.as_bytes()).expect("it was made of text"),
            Text::Long(text) => text,
        }
    }

    /// The bytes of [`as_str`](DocKey::as_str).
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0.text {
            Text::Short(length, bytes) => &bytes[..usize::from(*length)],
            Text::Long(text) => text.as_bytes(),
        }
    }
}

impl KeyError {
    /// Why this is no name.
    #[cold]
    fn of<D: fmt::Display + ?Sized>(collection: &'static str, id: &D) -> KeyError {
        let name = format!("{collection}:{id}");
        if name.len() <= collection.len() + 1 {
            return KeyError::Empty(collection);
        }
        KeyError::TooLong(name.chars().take(32).collect(), name.len())
    }
}

/// By name.
impl PartialEq for DocKey {
    #[inline]
    fn eq(&self, other: &DocKey) -> bool {
        let (one, another) = (&self.0, &other.0);
        Arc::ptr_eq(one, another)
            || (one.hash == another.hash && self.as_bytes() == other.as_bytes())
    }
}

impl Eq for DocKey {}

/// Keyed at random: who chooses names cannot choose their hashes.
static HASHES: LazyLock<foldhash::fast::RandomState> = LazyLock::new(Default::default);

fn hash(name: &str) -> u64 {
    HASHES.hash_one(name)
}

impl Hash for DocKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for DocKey {
    fn partial_cmp(&self, other: &DocKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By name.
impl Ord for DocKey {
    fn cmp(&self, other: &DocKey) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// How many bytes were written.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 += written.len();
        Ok(())
    }
}

/// Whether what is written is what is left of a name.
struct Same<'a> {
    left: &'a [u8],
}

impl fmt::Write for Same<'_> {
    #[inline]
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.left = self.left.strip_prefix(written.as_bytes()).ok_or(fmt::Error)?;
        Ok(())
    }
}

thread_local! {
    static NAMES: RefCell<Option<Box<Names>>> = const { RefCell::new(None) };
}

/// How many names are kept on each thread.
const KEPT: usize = 1 << 11;
/// How many of them may have the same lowest bits of their hashes: so many that a few dozen names
/// never crowd each other out.
const ALIKE: usize = 8;

/// Names that were made before: a call names the same document as its anchor, when it reads it and
/// when it writes it, and others name it again soon.
struct Names {
    /// Where names are put together, behind that of their collection.
    scratch: String,
    /// The latest collection.
    collection: &'static str,
    /// `ALIKE` places for each value of the lowest bits.
    kept: Vec<Option<DocKey>>,
    /// Where the latest is, if it is of this collection.
    latest: Option<usize>,
    /// Which place the next name takes where all are taken.
    next: usize,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            scratch: String::new(),
            collection: "",
            kept: vec![None; KEPT],
            latest: None,
            next: 0,
        }
    }
}

impl Names {
    fn name<D: fmt::Display + ?Sized>(
        &mut self,
        collection: &'static str,
        id: &D,
    ) -> Option<DocKey> {
        use fmt::Write as _;
        // A call mostly names what it has named before. To compare is cheaper than to put the name together.
        if std::ptr::eq(self.collection, collection)
            && let Some(latest) = self.latest.and_then(|latest| self.kept[latest].as_ref())
        {
            let mut same = Same { left: &latest.as_bytes()[collection.len() + 1..] };
            if write!(same, "{id}").is_ok() && same.left.is_empty() {
                return Some(latest.clone());
            }
        }
        self.begin(collection);
        write!(self.scratch, "{id}").expect("writing to a string cannot fail");
        self.end(collection)
    }

    fn begin(&mut self, collection: &'static str) {
        if !std::ptr::eq(self.collection, collection) || self.scratch.is_empty() {
            (self.collection, self.latest) = (collection, None);
            self.scratch.clear();
            self.scratch.push_str(collection);
            self.scratch.push(':');
        }
        self.scratch.truncate(collection.len() + 1);
    }

    /// The name that is put together, if it is one.
    fn end(&mut self, collection: &'static str) -> Option<DocKey> {
        let name = &*self.scratch;
        if name.len() <= collection.len() + 1 {
            return None;
        }
        if name.len() > DocKey::MAX_LEN {
            self.scratch = String::new();
            return None;
        }
        let hash = hash(name);
        let start = hash as usize % (KEPT / ALIKE) * ALIKE;
        let places = &mut self.kept[start..start + ALIKE];
        let known = places.iter().position(|place| match place {
            Some(known) => known.0.hash == hash && known.as_bytes() == name.as_bytes(),
            None => true,
        });
        let index = known.unwrap_or_else(|| {
            self.next = (self.next + 1) % ALIKE;
            places[self.next] = None;
            self.next
        });
        self.latest = Some(start + index);
        Some(places[index].get_or_insert_with(|| DocKey::made(hash, name)).clone())
    }
}

impl fmt::Display for DocKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DocKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
        for id in ["", "alice", &"x".repeat(DocKey::MAX_LEN - 8), &"x".repeat(DocKey::MAX_LEN)] {
            assert_eq!(DocKey::check("account", id), DocKey::of("account", id).map(drop), "{id}");
        }
        for id in names.iter().chain(&names) {
            let key = DocKey::new("account", id).unwrap();
            assert_eq!(key.as_str(), format!("account:{id}"), "made anew or known");
        }
        let many: Vec<String> = (0..3 * KEPT).map(|id| id.to_string()).collect();
        for id in many.iter().chain(&many) {
            assert_eq!(DocKey::new("account", id).unwrap().as_str(), format!("account:{id}"));
        }
        let long = "x".repeat(DocKey::MAX_LEN);
        assert!(matches!(DocKey::new("account", &long), Err(KeyError::TooLong(_, 248))));
    }

    #[test]
    fn a_name_is_not_taken_for_the_one_before() {
        let name = |collection, id: &str| DocKey::new(collection, &id).map(|key| key.to_string());
        let (short, long) = ("a", "accounts");
        assert_eq!(name(short, "x").unwrap(), "a:x");
        assert_eq!(name(long, ""), Err(KeyError::Empty(long)));
        assert_eq!(name(long, "x").unwrap(), "accounts:x");
        for id in ["xy", "x", "xyz", "y", "y"] {
            assert_eq!(name(long, id).unwrap(), format!("accounts:{id}"));
        }
        struct Pieces;
        impl fmt::Display for Pieces {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", 1, 2)
            }
        }
        for _ in 0..2 {
            assert_eq!(DocKey::new(long, &Pieces).unwrap().as_str(), "accounts:1-2");
        }
        assert_eq!(name(short, "1-2").unwrap(), "a:1-2");
    }

    #[test]
    fn a_name_is_the_same_at_every_length() {
        for length in 1..=DocKey::MAX_LEN - 2 {
            let id = "é".repeat(length / 2) + &"x".repeat(length % 2);
            let key = DocKey::new("a", &id).unwrap();
            let apart = DocKey::made(key.0.hash, &format!("a:{id}"));
            assert_eq!((key.as_str(), key.as_bytes()), (apart.as_str(), apart.as_bytes()));
            assert_eq!((&key, key.cmp(&apart)), (&apart, Ordering::Equal));
            let is_short = matches!(key.0.text, Text::Short(..));
            assert_eq!(is_short, length + 2 <= SHORT, "{length}");
            let other = DocKey::made(key.0.hash, &format!("b:{id}"));
            assert!(key != other && key < other, "of one hash, and another name");
        }
        assert_eq!(size_of::<Option<DocKey>>(), size_of::<usize>());
    }

    #[test]
    fn a_name_is_made_while_another_is() {
        struct Nested;
        impl fmt::Display for Nested {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "in-{}", DocKey::new("inner", &"x").map_err(|_| fmt::Error)?)
            }
        }
        assert_eq!(DocKey::new("outer", &Nested).unwrap().as_str(), "outer:in-inner:x");
        assert_eq!(DocKey::new("outer", &"y").unwrap().as_str(), "outer:y");
    }

    #[test]
    fn names_are_ordered_and_told_apart_as_text() {
        let mut keys: Vec<DocKey> =
            ["c", "a", "b"].map(|id| DocKey::new("account", &id).unwrap()).into();
        keys.sort();
        assert_eq!(
            keys.iter().map(DocKey::as_str).collect::<Vec<_>>(),
            ["account:a", "account:b", "account:c"]
        );
        assert_eq!(keys[0], DocKey::made(hash("account:a"), "account:a"));
        assert_ne!(keys[0], keys[1]);
    }
}
