//! What an account's owner reads: receipts and statements.

use std::fmt;
use std::num::{NonZeroU64, ParseIntError};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AccountName, Amount, Balance, Reference};

/// How many entries one page of a statement holds.
///
/// The last page is rewritten with every movement, so it must stay small; the smaller it is, the
/// more pages a long statement has. At 32, a page is at most a few kilobytes.
pub const PAGE_ENTRIES: usize = 32;

/// What a movement is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema)]
pub struct Receipt {
    /// The caller's name for the movement.
    pub reference: Reference,
    /// What the account held right after it. For a transfer: the account that paid.
    pub balance: Balance,
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema)]
pub struct Entry {
    /// The caller's name for the movement.
    pub reference: Reference,
    /// What happened.
    pub movement: Movement,
    /// What the account held right after it.
    pub balance: Balance,
}

/// What happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema)]
pub enum Movement {
    /// It was opened, with nothing on it.
    Opened,
    /// Money came from outside the bank.
    Deposit {
        /// How much.
        amount: Amount,
    },
    /// Money left the bank.
    Withdrawal {
        /// How much.
        amount: Amount,
    },
    /// Money came from another account.
    TransferIn {
        /// The account that paid.
        from: AccountName,
        /// How much.
        amount: Amount,
    },
    /// Money went to another account.
    TransferOut {
        /// The account that was paid.
        to: AccountName,
        /// How much.
        amount: Amount,
    },
    /// It was closed, with nothing on it.
    Closed,
}

/// One page of a statement, oldest entry first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema)]
pub struct StatementPage {
    /// Which page this is.
    pub page: PageNumber,
    /// At most [`PAGE_ENTRIES`] entries.
    pub entries: Vec<Entry>,
    /// The page to read next; `None` if this was the last one at the time.
    pub next: Option<PageNumber>,
}

/// The number of a page of a statement, counted from 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, rpc::Schema,
)]
pub struct PageNumber(NonZeroU64);

impl Movement {
    /// By how many cents the balance changed.
    #[must_use]
    pub fn change(&self) -> i64 {
        let cents = |amount: &Amount| {
            i64::try_from(amount.cents()).expect("Amount::MAX is far below what an i64 holds")
        };
        match self {
            Movement::Opened | Movement::Closed => 0,
            Movement::Deposit { amount } | Movement::TransferIn { amount, .. } => cents(amount),
            Movement::Withdrawal { amount } | Movement::TransferOut { amount, .. } => {
                -cents(amount)
            }
        }
    }
}

impl PageNumber {
    /// The oldest page.
    pub const FIRST: PageNumber = PageNumber(NonZeroU64::MIN);

    /// The page after this one.
    ///
    /// # Panics
    /// After page 2^64 − 1, which no statement reaches.
    #[must_use]
    pub fn next(self) -> PageNumber {
        PageNumber(self.0.checked_add(1).expect("no statement has 2^64 pages"))
    }
}

impl From<NonZeroU64> for PageNumber {
    fn from(number: NonZeroU64) -> PageNumber {
        PageNumber(number)
    }
}

impl FromStr for PageNumber {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<PageNumber, ParseIntError> {
        text.parse().map(PageNumber)
    }
}

impl fmt::Display for PageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Movement::Opened => f.write_str("opened"),
            Movement::Deposit { amount } => write!(f, "deposit of {amount}"),
            Movement::Withdrawal { amount } => write!(f, "withdrawal of {amount}"),
            Movement::TransferIn { from, amount } => write!(f, "{amount} from {from}"),
            Movement::TransferOut { to, amount } => write!(f, "{amount} to {to}"),
            Movement::Closed => f.write_str("closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_the_sign_of_the_movement() {
        let amount = Amount::from_cents(250).unwrap();
        let other: AccountName = "bob".parse().unwrap();
        assert_eq!(Movement::Opened.change(), 0);
        assert_eq!(Movement::Deposit { amount }.change(), 250);
        assert_eq!(Movement::Withdrawal { amount }.change(), -250);
        assert_eq!(Movement::TransferIn { from: other.clone(), amount }.change(), 250);
        assert_eq!(Movement::TransferOut { to: other, amount }.change(), -250);
        assert_eq!(Movement::Closed.change(), 0);
    }

    #[test]
    fn pages_count_from_one() {
        assert_eq!(PageNumber::FIRST.to_string(), "1");
        assert_eq!(PageNumber::FIRST.next().to_string(), "2");
        assert_eq!("2".parse(), Ok(PageNumber::FIRST.next()));
        assert!("0".parse::<PageNumber>().is_err());
    }
}
