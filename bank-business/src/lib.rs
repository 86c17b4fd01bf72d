//! A bank: accounts with a balance and a statement, and the movements of money between them.
//!
//! It is written as any business on [`rpc`] is written: the [`Bank`] trait says what can be asked,
//! [`BankService`] says what happens then, and both speak only of accounts, amounts and
//! statements.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `bank.rs` | [`Bank`], the trait: every method with its rules and errors |
//! | `service.rs` | [`BankService`], the rules at work |
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
//!
//! # Example
//!
//! ```
//! use bank_business::{AccountName, Amount, BankClient, Reference, TransferError};
//! use rpc::CallError;
//!
//! async fn pay_rent(bank: &BankClient) -> Result<(), Box<dyn std::error::Error>> {
//!     let tenant: AccountName = "alice".parse()?;
//!     let landlord: AccountName = "bob".parse()?;
//!     let rent: Amount = "950.00".parse()?;
//!     let reference: Reference = "rent-2026-03".parse()?;
//!     match bank.transfer(tenant, landlord, rent, reference).await {
//!         Ok(receipt) => println!("paid, {} left", receipt.balance),
//!         Err(CallError::Business(TransferError::InsufficientFunds { balance, .. })) => {
//!             println!("only {balance} in the account");
//!         }
//!         Err(other) => return Err(other.into()),
//!     }
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

mod bank;
pub mod documents;
mod error;
mod money;
mod name;
mod reference;
mod service;
mod statement;

pub use bank::{Bank, BankClient, BankServer};
pub use error::{
    AccountError, BalanceError, CloseError, DepositError, OpenError, StatementError, TransferError,
    WithdrawError,
};
pub use money::{Amount, AmountError, Balance, BalanceOutOfRange};
pub use name::{AccountName, NameError};
pub use reference::{Reference, ReferenceError};
pub use service::BankService;
pub use statement::{Entry, Movement, PAGE_ENTRIES, PageNumber, Receipt, StatementPage};
