//! The name of an account.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of an account: 1 to [`AccountName::MAX_LEN`] characters out of `a-z`, `0-9`, `.`, `_`
/// and `-`, the first a letter or a digit.
///
/// One account has one spelling: there are no capitals, spaces or look-alikes to mix up.
///
/// ```
/// use bank_business::AccountName;
///
/// let name: AccountName = "alice.savings".parse().unwrap();
/// assert_eq!(name.as_str(), "alice.savings");
/// assert!("Alice".parse::<AccountName>().is_err());
/// ```
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, rpc::Schema,
)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

/// A text that names no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing at all.
    #[error("an account name is empty: give it 1 to {max} characters", max = AccountName::MAX_LEN)]
    Empty,
    /// Longer than [`AccountName::MAX_LEN`].
    #[error("an account name of {0} characters is too long: use at most {max}", max = AccountName::MAX_LEN)]
    TooLong(usize),
    /// A dot, underscore or dash at the beginning.
    #[error("an account name begins with {0:?}: begin with a letter a-z or a digit")]
    Start(char),
    /// A character that no name may have.
    #[error("an account name has the character {0:?}: use only a-z, 0-9, '.', '_' and '-'")]
    Character(char),
}

impl AccountName {
    /// The longest name, in characters: what still fits on one line of a statement.
    pub const MAX_LEN: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AccountName {
    type Error = NameError;

    fn try_from(text: String) -> Result<AccountName, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if let Some(odd) =
            text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
        {
            return Err(NameError::Character(odd));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Start(first));
        }
        if text.len() > AccountName::MAX_LEN {
            return Err(NameError::TooLong(text.len()));
        }
        Ok(AccountName(text))
    }
}

impl FromStr for AccountName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<AccountName, NameError> {
        text.to_owned().try_into()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> String {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AccountName, NameError> {
        text.parse()
    }

    #[test]
    fn good_names_are_taken_as_they_are() {
        let longest = "x".repeat(AccountName::MAX_LEN);
        for name in ["a", "7", "alice", "alice.savings-2_b", &longest] {
            assert_eq!(parse(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        assert_eq!(parse(""), Err(NameError::Empty));
        assert_eq!(parse("Alice"), Err(NameError::Character('A')));
        assert_eq!(parse("al ice"), Err(NameError::Character(' ')));
        assert_eq!(parse("al/ice"), Err(NameError::Character('/')));
        assert_eq!(parse("älice"), Err(NameError::Character('ä')));
        assert_eq!(parse("-alice"), Err(NameError::Start('-')));
        assert_eq!(parse(&"x".repeat(65)), Err(NameError::TooLong(65)));
        assert!(parse("").unwrap_err().to_string().contains("1 to 64"));
    }
}
