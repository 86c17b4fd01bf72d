//! The ways in which the bank refuses a call, in one form for all calls.

use bank_business::{
    AccountError, BalanceError, CloseError, DepositError, OpenError, StatementError, TransferError,
    WithdrawError,
};
use serde::{Deserialize, Serialize};

/// A no of the bank. Amounts are cents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum No {
    /// The name is taken.
    NameTaken(String),
    /// There is no such account.
    NoSuchAccount(String),
    /// The account is closed.
    Closed(String),
    /// The account holds only so much.
    Insufficient {
        /// Which account.
        account: String,
        /// What it holds.
        balance: u64,
    },
    /// The account still holds so much.
    NotEmpty {
        /// Which account.
        account: String,
        /// What it holds.
        balance: u64,
    },
    /// The last page is this one.
    NoSuchPage {
        /// Which.
        last: u64,
    },
    /// Anything else, which no plan asks for.
    Other(String),
}

impl No {
    /// The account that it speaks of.
    pub(super) fn account(&self) -> Option<&str> {
        match self {
            No::NameTaken(name) | No::NoSuchAccount(name) | No::Closed(name) => Some(name),
            No::Insufficient { account, .. } | No::NotEmpty { account, .. } => Some(account),
            No::NoSuchPage { .. } | No::Other(_) => None,
        }
    }
}

impl From<AccountError> for No {
    fn from(error: AccountError) -> No {
        match error {
            AccountError::NoSuchAccount(name) => No::NoSuchAccount(name.to_string()),
            AccountError::Closed(name) => No::Closed(name.to_string()),
            other => No::Other(other.to_string()),
        }
    }
}

impl From<OpenError> for No {
    fn from(error: OpenError) -> No {
        match error {
            OpenError::NameTaken(name) => No::NameTaken(name.to_string()),
            other => No::Other(other.to_string()),
        }
    }
}

impl From<DepositError> for No {
    fn from(error: DepositError) -> No {
        match error {
            DepositError::Account(error) => error.into(),
            other => No::Other(other.to_string()),
        }
    }
}

impl From<WithdrawError> for No {
    fn from(error: WithdrawError) -> No {
        match error {
            WithdrawError::Account(error) => error.into(),
            WithdrawError::InsufficientFunds { account, balance, .. } => {
                No::Insufficient { account: account.to_string(), balance: balance.cents() }
            }
            other => No::Other(other.to_string()),
        }
    }
}

impl From<TransferError> for No {
    fn from(error: TransferError) -> No {
        match error {
            TransferError::Account(error) => error.into(),
            TransferError::InsufficientFunds { account, balance, .. } => {
                No::Insufficient { account: account.to_string(), balance: balance.cents() }
            }
            other => No::Other(other.to_string()),
        }
    }
}

impl From<BalanceError> for No {
    fn from(error: BalanceError) -> No {
        match error {
            BalanceError::Account(error) => error.into(),
            other => No::Other(other.to_string()),
        }
    }
}

impl From<CloseError> for No {
    fn from(error: CloseError) -> No {
        match error {
            CloseError::Account(error) => error.into(),
            CloseError::NotEmpty { account, balance } => {
                No::NotEmpty { account: account.to_string(), balance: balance.cents() }
            }
            other => No::Other(other.to_string()),
        }
    }
}

impl From<StatementError> for No {
    fn from(error: StatementError) -> No {
        match error {
            StatementError::Account(error) => error.into(),
            StatementError::NoSuchPage { last, .. } => No::NoSuchPage {
                last: last.to_string().parse().expect("a page number is a number"),
            },
            other => No::Other(other.to_string()),
        }
    }
}
