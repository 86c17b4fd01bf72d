//! The caller's own name for a movement.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the caller calls a movement, such as an invoice number: 1 to [`Reference::MAX_LEN`]
/// visible ASCII characters, no spaces.
///
/// It stands in the statement of every account that the movement touched. The bank does not ask
/// for references to differ: two rents may both be called `rent`.
///
/// ```
/// use bank_business::Reference;
///
/// let reference: Reference = "invoice/2026-117".parse().unwrap();
/// assert_eq!(reference.as_str(), "invoice/2026-117");
/// assert!("two words".parse::<Reference>().is_err());
/// ```
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, rpc::Schema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(String);

/// A text that cannot be a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Nothing at all.
    #[error("a reference is empty: give it 1 to {max} characters", max = Reference::MAX_LEN)]
    Empty,
    /// Longer than [`Reference::MAX_LEN`].
    #[error("a reference of {0} characters is too long: use at most {max}", max = Reference::MAX_LEN)]
    TooLong(usize),
    /// A character that no reference may have.
    #[error("a reference has the character {0:?}: use only visible ASCII characters, no spaces")]
    Character(char),
}

impl Reference {
    /// The longest reference, in characters: room for a UUID with a prefix, and what still fits on
    /// one line of a statement.
    pub const MAX_LEN: usize = 64;

    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Reference, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(ReferenceError::Character(odd));
        }
        if text.len() > Reference::MAX_LEN {
            return Err(ReferenceError::TooLong(text.len()));
        }
        Ok(Reference(text))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        text.to_owned().try_into()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, ReferenceError> {
        text.parse()
    }

    #[test]
    fn good_references_are_taken_as_they_are() {
        let longest = "#".repeat(Reference::MAX_LEN);
        for reference in ["r", "Invoice/2026-117", "c3:41", &longest] {
            assert_eq!(parse(reference).unwrap().to_string(), reference);
        }
    }

    #[test]
    fn bad_references_are_refused_with_the_reason() {
        assert_eq!(parse(""), Err(ReferenceError::Empty));
        assert_eq!(parse("two words"), Err(ReferenceError::Character(' ')));
        assert_eq!(parse("line\n"), Err(ReferenceError::Character('\n')));
        assert_eq!(parse("é"), Err(ReferenceError::Character('é')));
        assert_eq!(parse(&"x".repeat(65)), Err(ReferenceError::TooLong(65)));
    }
}
