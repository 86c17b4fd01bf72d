//! Money, in whole cents: what a movement moves, and what an account holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one movement moves: 0.01 to [`Amount::MAX`]. There is no movement of nothing.
///
/// Parsed and shown as units with two decimals, stored and sent as cents.
///
/// ```
/// use bank_business::Amount;
///
/// let amount: Amount = "12.5".parse().unwrap();
/// assert_eq!(amount.cents(), 1250);
/// assert_eq!(amount.to_string(), "12.50");
/// assert!(Amount::from_cents(0).is_err());
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, rpc::Schema,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Amount(u64);

/// What an account holds: zero to [`Balance::MAX`].
///
/// Only [`Amount`]s are added to it and taken from it, and both say `None` instead of leaving the
/// range: an overdraft cannot be written down.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    rpc::Schema,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Balance(u64);

/// A number or text that no movement can move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// Nothing.
    #[error("an amount of zero moves nothing: use at least 0.01")]
    Zero,
    /// More than [`Amount::MAX`].
    #[error("an amount is too large: one movement moves at most {max}", max = Amount::MAX)]
    TooLarge,
    /// Not a number with at most two decimals.
    #[error("{0:?} is not an amount: write it as 12 or 12.34")]
    Malformed(String),
}

/// A number that no account can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a balance of {0} cents is out of range: an account holds at most {max}", max = Balance::MAX)]
pub struct BalanceOutOfRange(pub u64);

impl Amount {
    /// The most that one movement moves: ten billion, far above honest business and so far below
    /// [`Balance::MAX`] that no single slip fills an account.
    pub const MAX: Amount = Amount(1_000_000_000_000);

    /// An amount of this many cents.
    ///
    /// # Errors
    /// If it is zero or above [`Amount::MAX`].
    pub fn from_cents(cents: u64) -> Result<Amount, AmountError> {
        match cents {
            0 => Err(AmountError::Zero),
            cents if cents > Amount::MAX.0 => Err(AmountError::TooLarge),
            cents => Ok(Amount(cents)),
        }
    }

    /// The amount in cents.
    #[must_use]
    pub fn cents(self) -> u64 {
        self.0
    }
}

impl Balance {
    /// What a new account holds.
    pub const ZERO: Balance = Balance(0);
    /// The most that an account holds: ten trillion. In cents it is below 2^53, so that every
    /// reader of JSON, also one that knows only doubles, reads it exactly.
    pub const MAX: Balance = Balance(1_000_000_000_000_000);

    /// A balance of this many cents.
    ///
    /// # Errors
    /// If it is above [`Balance::MAX`].
    pub fn from_cents(cents: u64) -> Result<Balance, BalanceOutOfRange> {
        if cents > Balance::MAX.0 { Err(BalanceOutOfRange(cents)) } else { Ok(Balance(cents)) }
    }

    /// The balance in cents.
    #[must_use]
    pub fn cents(self) -> u64 {
        self.0
    }

    /// The balance with this amount more; `None` if that is above [`Balance::MAX`].
    #[must_use]
    pub fn checked_add(self, amount: Amount) -> Option<Balance> {
        let sum = self.0.checked_add(amount.0)?;
        Balance::from_cents(sum).ok()
    }

    /// The balance with this amount less; `None` if there is not as much.
    #[must_use]
    pub fn checked_sub(self, amount: Amount) -> Option<Balance> {
        self.0.checked_sub(amount.0).map(Balance)
    }
}

impl TryFrom<u64> for Amount {
    type Error = AmountError;

    fn try_from(cents: u64) -> Result<Amount, AmountError> {
        Amount::from_cents(cents)
    }
}

impl TryFrom<u64> for Balance {
    type Error = BalanceOutOfRange;

    fn try_from(cents: u64) -> Result<Balance, BalanceOutOfRange> {
        Balance::from_cents(cents)
    }
}

impl From<Amount> for u64 {
    fn from(amount: Amount) -> u64 {
        amount.0
    }
}

impl From<Balance> for u64 {
    fn from(balance: Balance) -> u64 {
        balance.0
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Amount, AmountError> {
        let malformed = || AmountError::Malformed(text.chars().take(32).collect());
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if !digits(units) || !digits(decimals) || decimals.len() > 2 {
            return Err(malformed());
        }
        let units: u64 = units.parse().map_err(|_| AmountError::TooLarge)?;
        let cents: u64 = format!("{decimals:0<2}").parse().map_err(|_| malformed())?;
        let cents = units.checked_mul(100).and_then(|whole| whole.checked_add(cents));
        Amount::from_cents(cents.ok_or(AmountError::TooLarge)?)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_cents(self.0, f)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_cents(self.0, f)
    }
}

fn write_cents(cents: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.pad(&format!("{}.{:02}", cents / 100, cents % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<u64, AmountError> {
        text.parse().map(Amount::cents)
    }

    #[test]
    fn amounts_parse_as_units_with_decimals() {
        assert_eq!(parse("12"), Ok(1200));
        assert_eq!(parse("12.3"), Ok(1230));
        assert_eq!(parse("12.34"), Ok(1234));
        assert_eq!(parse("0.01"), Ok(1));
        assert_eq!(parse("10000000000"), Ok(Amount::MAX.cents()));
    }

    #[test]
    fn bad_amounts_are_refused_with_the_reason() {
        assert_eq!(parse("0"), Err(AmountError::Zero));
        assert_eq!(parse("0.00"), Err(AmountError::Zero));
        assert_eq!(parse("10000000000.01"), Err(AmountError::TooLarge));
        assert_eq!(parse("99999999999999999999999"), Err(AmountError::TooLarge));
        assert_eq!(parse("18446744073709551615"), Err(AmountError::TooLarge));
        for text in ["", ".", "1.", ".5", "-1", "+1", "1.234", "1,5", "1e3", "1.+5", "ten"] {
            assert_eq!(parse(text), Err(AmountError::Malformed(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_balance_never_leaves_its_range() {
        let one = Amount::from_cents(1).unwrap();
        assert_eq!(Balance::ZERO.checked_sub(one), None);
        assert_eq!(Balance::ZERO.checked_add(one).unwrap().checked_sub(one), Some(Balance::ZERO));
        assert_eq!(Balance::MAX.checked_add(one), None);
        assert_eq!(Balance::from_cents(u64::MAX), Err(BalanceOutOfRange(u64::MAX)));
    }

    #[test]
    fn money_shows_two_decimals() {
        assert_eq!(Amount::from_cents(5).unwrap().to_string(), "0.05");
        assert_eq!(Balance::MAX.to_string(), "10000000000000.00");
        assert_eq!(format!("{:>8}", Balance::from_cents(1250).unwrap()), "   12.50");
    }
}
