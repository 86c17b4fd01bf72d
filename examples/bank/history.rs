//! What was asked of the bank, and what became of it: what the verdict is passed on.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bank_business::{AccountName, Amount, Balance, Entry, Movement, Receipt, Reference};

/// A movement that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Open an account.
    Open {
        /// Its name.
        name: AccountName,
    },
    /// Bring money in.
    Deposit {
        /// The account.
        name: AccountName,
        /// How much.
        amount: Amount,
    },
    /// Take money out.
    Withdraw {
        /// The account.
        name: AccountName,
        /// How much.
        amount: Amount,
    },
    /// Move money.
    Transfer {
        /// The account that pays.
        from: AccountName,
        /// The account that is paid.
        to: AccountName,
        /// How much.
        amount: Amount,
    },
}

/// What the caller knows of a movement at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It took effect.
    Acknowledged(Receipt),
    /// The bank refused it, with this error: it changed nothing.
    Refused(String),
    /// It was reported as not executed, for this reason: it never takes effect.
    NotExecuted(String),
    /// Nobody could tell, not even when asked again.
    Unsettled(String),
}

/// One movement from its first asking to its end.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The caller's name for it, used for this one alone.
    pub(crate) reference: Reference,
    /// What was asked.
    pub(crate) order: Order,
    /// When it was first asked, from the start of the run.
    pub(crate) began: Duration,
    /// When its end was known.
    pub(crate) ended: Duration,
    /// How often it was unknown and asked again.
    pub(crate) asked_again: u32,
    /// What became of it.
    pub(crate) ending: Ending,
}

/// An account as it was read back at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// All pages, oldest entry first. Empty if there is no such account.
    pub(crate) entries: Vec<Entry>,
    /// What the account says it holds.
    pub(crate) balance: Balance,
}

/// All accounts of a run, as they were read back.
pub(crate) type Statements = BTreeMap<AccountName, Statement>;

impl Order {
    /// What stands in which statement if it took effect. The first is that of the receipt.
    pub(crate) fn legs(&self) -> Vec<(&AccountName, Movement)> {
        match self {
            Order::Open { name } => vec![(name, Movement::Opened)],
            Order::Deposit { name, amount } => vec![(name, Movement::Deposit { amount: *amount })],
            Order::Withdraw { name, amount } => {
                vec![(name, Movement::Withdrawal { amount: *amount })]
            }
            Order::Transfer { from, to, amount } => vec![
                (from, Movement::TransferOut { to: to.clone(), amount: *amount }),
                (to, Movement::TransferIn { from: from.clone(), amount: *amount }),
            ],
        }
    }

    /// By how many cents it changes what the whole bank holds.
    pub(crate) fn money(&self) -> i128 {
        self.legs().iter().map(|(_, movement)| i128::from(movement.change())).sum()
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Acknowledged(_) => f.write_str("acknowledged"),
            Ending::Refused(error) => write!(f, "refused ({error})"),
            Ending::NotExecuted(reason) => write!(f, "reported as not executed ({reason})"),
            Ending::Unsettled(reason) => write!(f, "unknown ({reason})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_neither_makes_nor_destroys_money() {
        let [from, to]: [AccountName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let amount = Amount::from_cents(70).unwrap();
        assert_eq!(Order::Open { name: from.clone() }.money(), 0);
        assert_eq!(Order::Deposit { name: from.clone(), amount }.money(), 70);
        assert_eq!(Order::Withdraw { name: from.clone(), amount }.money(), -70);
        assert_eq!(Order::Transfer { from, to, amount }.money(), 0);
    }
}
