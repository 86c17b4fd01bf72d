//! The rules of the bank at work.

use rpc::{Tx, View};

use crate::documents::{Account, FullPage, PageKey};
use crate::{
    AccountError, AccountName, Amount, Balance, BalanceError, Bank, CloseError, DepositError,
    Entry, Movement, OpenError, PAGE_ENTRIES, PageNumber, Receipt, Reference, StatementError,
    StatementPage, TransferError, WithdrawError,
};

/// The bank. It holds nothing itself: all there is lies in documents.
#[derive(Clone, Copy, Debug, Default)]
pub struct BankService;

impl Bank for BankService {
    async fn open(
        &self,
        tx: &mut Tx,
        name: AccountName,
        reference: Reference,
    ) -> Result<Receipt, OpenError> {
        if tx.get(&name).await.is_some() {
            return Err(OpenError::NameTaken(name));
        }
        let entry = Entry { reference, movement: Movement::Opened, balance: Balance::ZERO };
        Ok(post(tx, &name, Account::new(), entry))
    }

    async fn deposit(
        &self,
        tx: &mut Tx,
        name: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, DepositError> {
        let account = usable(tx, &name).await?;
        let Some(balance) = account.balance.checked_add(amount) else {
            return Err(DepositError::BalanceLimit(name));
        };
        let entry = Entry { reference, movement: Movement::Deposit { amount }, balance };
        Ok(post(tx, &name, account, entry))
    }

    async fn withdraw(
        &self,
        tx: &mut Tx,
        name: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, WithdrawError> {
        let account = usable(tx, &name).await?;
        let Some(balance) = account.balance.checked_sub(amount) else {
            let balance = account.balance;
            return Err(WithdrawError::InsufficientFunds { account: name, balance, amount });
        };
        let entry = Entry { reference, movement: Movement::Withdrawal { amount }, balance };
        Ok(post(tx, &name, account, entry))
    }

    async fn transfer(
        &self,
        tx: &mut Tx,
        from: AccountName,
        to: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, TransferError> {
        if from == to {
            return Err(TransferError::SameAccount(from));
        }
        let payer = usable(tx, &from).await?;
        let payee = usable(tx, &to).await?;
        let Some(left) = payer.balance.checked_sub(amount) else {
            let balance = payer.balance;
            return Err(TransferError::InsufficientFunds { account: from, balance, amount });
        };
        let Some(arrived) = payee.balance.checked_add(amount) else {
            return Err(TransferError::BalanceLimit(to));
        };
        let incoming = Entry {
            reference: reference.clone(),
            movement: Movement::TransferIn { from: from.clone(), amount },
            balance: arrived,
        };
        post(tx, &to, payee, incoming);
        let outgoing =
            Entry { reference, movement: Movement::TransferOut { to, amount }, balance: left };
        Ok(post(tx, &from, payer, outgoing))
    }

    async fn balance(&self, view: &View, name: AccountName) -> Result<Balance, BalanceError> {
        Ok(open_only(&name, view.get(&name).await)?.balance)
    }

    async fn statement(
        &self,
        view: &View,
        name: AccountName,
        page: PageNumber,
    ) -> Result<StatementPage, StatementError> {
        let key = PageKey { account: name, page };
        if let Some(FullPage { entries }) = view.get(&key).await {
            return Ok(StatementPage { page, entries, next: Some(page.next()) });
        }
        let name = key.account;
        let Some(account) = view.get(&name).await else {
            return Err(AccountError::NoSuchAccount(name).into());
        };
        if page != account.page {
            return Err(StatementError::NoSuchPage { page, last: account.page });
        }
        Ok(StatementPage { page, entries: account.entries, next: None })
    }

    async fn close(
        &self,
        tx: &mut Tx,
        name: AccountName,
        reference: Reference,
    ) -> Result<Receipt, CloseError> {
        let mut account = usable(tx, &name).await?;
        if account.balance != Balance::ZERO {
            return Err(CloseError::NotEmpty { account: name, balance: account.balance });
        }
        account.closed = true;
        let entry = Entry { reference, movement: Movement::Closed, balance: Balance::ZERO };
        Ok(post(tx, &name, account, entry))
    }
}

/// The account, if money may move on it.
async fn usable(tx: &mut Tx, name: &AccountName) -> Result<Account, AccountError> {
    let account = tx.get(name).await;
    open_only(name, account)
}

fn open_only(name: &AccountName, account: Option<Account>) -> Result<Account, AccountError> {
    match account {
        None => Err(AccountError::NoSuchAccount(name.clone())),
        Some(account) if account.closed => Err(AccountError::Closed(name.clone())),
        Some(account) => Ok(account),
    }
}

/// Puts an entry into the statement, and its balance into the account: the one place where an
/// account changes. A last page that is full gets a document of its own first.
fn post(tx: &mut Tx, name: &AccountName, mut account: Account, entry: Entry) -> Receipt {
    if account.entries.len() >= PAGE_ENTRIES {
        let key = PageKey { account: name.clone(), page: account.page };
        tx.put(&key, &FullPage { entries: std::mem::take(&mut account.entries) });
        account.page = account.page.next();
    }
    let receipt = Receipt { reference: entry.reference.clone(), balance: entry.balance };
    account.balance = entry.balance;
    account.entries.push(entry);
    tx.put(name, &account);
    receipt
}
