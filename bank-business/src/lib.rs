//! A bank: accounts with a balance and a statement, and the movements of money between them.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `bank.rs` | the trait: every method with its rules and errors |
//! | `service.rs` | the rules at work |
//! | `name.rs`, `reference.rs`, `money.rs` | the checked values: [`AccountName`], [`Reference`], [`Amount`], [`Balance`] |
//! | `statement.rs` | [`Entry`], [`Movement`], [`StatementPage`], [`Receipt`] |
//! | `error.rs` | what each method refuses, as types |
//! | `documents.rs` | what lies in the store |
//!
//! # The rules
//!
//! - Money is whole cents. A movement moves 0.01 to [`Amount::MAX`]; a balance is never below zero
//!   and never above [`Balance::MAX`].
//! - Every movement carries a [`Reference`] that the caller chose, and stands once in the statement
//!   of each account that it touched, with the balance after it.
//! - A statement only grows. It is kept in pages of [`PAGE_ENTRIES`] entries, so that no document
//!   grows with it.
//! - An account can be closed when its balance is zero. Its name stays taken for ever and its
//!   statement stays readable: a name never means two accounts.
#![forbid(unsafe_code)]

mod error;
mod money;
mod name;
mod reference;
mod statement;

pub use error::{
    AccountError, BalanceError, CloseError, DepositError, OpenError, StatementError, TransferError,
    WithdrawError,
};
pub use money::{Amount, AmountError, Balance, BalanceOutOfRange};
pub use name::{AccountName, NameError};
pub use reference::{Reference, ReferenceError};
pub use statement::{Entry, Movement, PAGE_ENTRIES, PageNumber, Receipt, StatementPage};
