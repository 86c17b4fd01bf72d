//! What each method refuses. A refused call changed nothing.

use serde::{Deserialize, Serialize};

use crate::{AccountName, Amount, Balance, PageNumber};

/// An account that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// No account has this name.
    #[error("there is no account {0}: open it first")]
    NoSuchAccount(AccountName),
    /// It was closed; only its statement can still be read.
    #[error("account {0} is closed: use another one")]
    Closed(AccountName),
}

/// Why an account was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An account has this name, or had it and was closed.
    #[error("the name {0} is taken: choose another one")]
    NameTaken(AccountName),
}

/// Why nothing was deposited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema, thiserror::Error)]
#[non_exhaustive]
pub enum DepositError {
    /// The account cannot be used.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The account would hold more than [`Balance::MAX`].
    #[error("account {0} would hold more than {max}: deposit less", max = Balance::MAX)]
    BalanceLimit(AccountName),
}

/// Why nothing was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema, thiserror::Error)]
#[non_exhaustive]
pub enum WithdrawError {
    /// The account cannot be used.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The account holds less than that.
    #[error("account {account} holds {balance}, less than {amount}")]
    InsufficientFunds {
        /// The account that was to pay.
        account: AccountName,
        /// What it holds.
        balance: Balance,
        /// What it was to pay.
        amount: Amount,
    },
}

/// Why nothing was transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// One of the accounts cannot be used.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// From an account to itself.
    #[error("a transfer from {0} to itself moves nothing: name two accounts")]
    SameAccount(AccountName),
    /// The paying account holds less than that.
    #[error("account {account} holds {balance}, less than {amount}")]
    InsufficientFunds {
        /// The account that was to pay.
        account: AccountName,
        /// What it holds.
        balance: Balance,
        /// What it was to pay.
        amount: Amount,
    },
    /// The paid account would hold more than [`Balance::MAX`].
    #[error("account {0} would hold more than {max}: transfer less", max = Balance::MAX)]
    BalanceLimit(AccountName),
}

/// Why there is no balance to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema, thiserror::Error)]
#[non_exhaustive]
pub enum BalanceError {
    /// The account cannot be used.
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// Why there is no page of a statement to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// There is no such account. (The statement of a closed one can be read.)
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The statement is not that long.
    #[error("the statement has no page {page}: its last one is {last}")]
    NoSuchPage {
        /// The page that was asked for.
        page: PageNumber,
        /// The last page there is.
        last: PageNumber,
    },
}

/// Why an account was not closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// There is no such account, or it is closed already.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// There is money on it.
    #[error("account {account} still holds {balance}: withdraw or transfer it first")]
    NotEmpty {
        /// The account.
        account: AccountName,
        /// What it holds.
        balance: Balance,
    },
}
