//! What can be asked of the bank.

use rpc::{Tx, View};

use crate::{
    AccountName, Amount, Balance, BalanceError, CloseError, DepositError, OpenError, PageNumber,
    Receipt, Reference, StatementError, StatementPage, TransferError, WithdrawError,
};

/// A bank of accounts.
///
/// What a method refuses, its error type says. Names, amounts and references are checked when they
/// are made, so no method has to refuse a bad one.
#[rpc::service]
pub trait Bank {
    /// Opens an account with nothing on it.
    ///
    /// # Errors
    /// If the name is taken, also by an account that was closed.
    async fn open(
        &self,
        tx: &mut Tx,
        #[anchor] name: AccountName,
        reference: Reference,
    ) -> Result<Receipt, OpenError>;

    /// Brings money into the bank.
    ///
    /// # Errors
    /// If there is no such open account, or it would hold more than [`Balance::MAX`].
    async fn deposit(
        &self,
        tx: &mut Tx,
        #[anchor] name: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, DepositError>;

    /// Takes money out of the bank.
    ///
    /// # Errors
    /// If there is no such open account, or it holds less than that.
    async fn withdraw(
        &self,
        tx: &mut Tx,
        #[anchor] name: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, WithdrawError>;

    /// Moves money from one account to another. The receipt tells the balance of the account that
    /// paid.
    ///
    /// # Errors
    /// If one of the two is no open account or both are the same, if `from` holds less than that,
    /// or `to` would hold more than [`Balance::MAX`].
    async fn transfer(
        &self,
        tx: &mut Tx,
        #[anchor] from: AccountName,
        to: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, TransferError>;

    /// What an account holds.
    ///
    /// # Errors
    /// If there is no such open account.
    async fn balance(&self, view: &View, name: AccountName) -> Result<Balance, BalanceError>;

    /// A page of an account's statement, oldest first. Begin with [`PageNumber::FIRST`] and go on
    /// with [`StatementPage::next`]. The statement of a closed account stays readable.
    ///
    /// # Errors
    /// If there never was such an account, or the statement has no such page.
    async fn statement(
        &self,
        view: &View,
        name: AccountName,
        page: PageNumber,
    ) -> Result<StatementPage, StatementError>;

    /// Closes an account for ever. Its name stays taken and its statement readable.
    ///
    /// # Errors
    /// If there is no such open account, or there is money on it.
    async fn close(
        &self,
        tx: &mut Tx,
        #[anchor] name: AccountName,
        reference: Reference,
    ) -> Result<Receipt, CloseError>;
}
