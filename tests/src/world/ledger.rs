//! A small service whose effects tell how often each call took effect: every account lists the
//! references of the calls that changed it.

use std::fmt;
use std::sync::Arc;

use rpc::{Tx, View};
use serde::{Deserialize, Serialize};

use super::gates::{Gates, Point};

/// The name of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema)]
pub struct Account(pub String);

impl From<&str> for Account {
    fn from(name: &str) -> Account {
        Account(name.to_owned())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What lies in the store for an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, rpc::Document)]
#[document(key = Account, collection = "book")]
pub struct Book {
    /// What it holds.
    pub balance: u64,
    /// One for each change, in order.
    pub references: Vec<String>,
}

/// There is not that much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema)]
pub struct Insufficient {
    /// There is this much.
    pub held: u64,
}

/// What two accounts hold together: told as an error, so that nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Schema)]
pub struct Sum(pub u64);

/// The service of the scenarios. A reference names a call, in accounts and at gates.
#[rpc::service]
pub trait Ledger {
    /// Adds to an account.
    async fn deposit(
        &self,
        tx: &mut Tx,
        #[anchor] to: Account,
        amount: u64,
        reference: String,
    ) -> u64;

    /// Takes from an account.
    async fn withdraw(
        &self,
        tx: &mut Tx,
        #[anchor] from: Account,
        amount: u64,
        reference: String,
    ) -> Result<u64, Insufficient>;

    /// Moves from one account to another.
    async fn transfer(
        &self,
        tx: &mut Tx,
        #[anchor] from: Account,
        to: Account,
        amount: u64,
        reference: String,
    ) -> Result<u64, Insufficient>;

    /// Reads two accounts and says their sum as an error.
    async fn compare(
        &self,
        tx: &mut Tx,
        #[anchor] one: Account,
        other: Account,
        reference: String,
    ) -> Result<(), Sum>;

    /// Moves from one account to another, if a third holds anything.
    async fn transfer_if(
        &self,
        tx: &mut Tx,
        #[anchor] from: Account,
        to: Account,
        witness: Account,
        amount: u64,
        reference: String,
    ) -> Result<u64, Insufficient>;

    /// Removes an account, and says what it held.
    async fn remove(&self, tx: &mut Tx, #[anchor] of: Account, reference: String) -> u64;

    /// Adds to an account; no argument is the anchor.
    async fn collect(&self, tx: &mut Tx, to: Account, amount: u64, reference: String) -> u64;

    /// What an account holds.
    async fn balance(&self, view: &View, of: Account, reference: String) -> u64;

    /// Says it back.
    async fn echo(&self, text: String) -> String;
}

/// The service on one server.
#[derive(Debug)]
pub struct LedgerOn {
    server: String,
    gates: Arc<Gates>,
}

impl LedgerOn {
    /// The service on the server of this name, with gates that tests can close.
    #[must_use]
    pub fn new(server: &str, gates: &Arc<Gates>) -> LedgerOn {
        LedgerOn { server: server.to_owned(), gates: Arc::clone(gates) }
    }

    async fn pass(&self, reference: &str, point: Point) {
        self.gates.pass(&self.server, reference, point).await;
    }
}

impl Ledger for LedgerOn {
    async fn deposit(&self, tx: &mut Tx, to: Account, amount: u64, reference: String) -> u64 {
        self.pass(&reference, Point::Start).await;
        let mut book = tx.get(&to).await.unwrap_or_default();
        book.balance += amount;
        book.references.push(reference.clone());
        tx.put(&to, &book);
        self.pass(&reference, Point::End).await;
        book.balance
    }

    async fn withdraw(
        &self,
        tx: &mut Tx,
        from: Account,
        amount: u64,
        reference: String,
    ) -> Result<u64, Insufficient> {
        self.pass(&reference, Point::Start).await;
        let mut book = tx.get(&from).await.unwrap_or_default();
        let left = book.balance.checked_sub(amount);
        self.pass(&reference, Point::End).await;
        book.balance = left.ok_or(Insufficient { held: book.balance })?;
        book.references.push(reference);
        tx.put(&from, &book);
        Ok(book.balance)
    }

    async fn transfer(
        &self,
        tx: &mut Tx,
        from: Account,
        to: Account,
        amount: u64,
        reference: String,
    ) -> Result<u64, Insufficient> {
        self.pass(&reference, Point::Start).await;
        let mut source = tx.get(&from).await.unwrap_or_default();
        self.pass(&reference, Point::Between).await;
        let mut target = tx.get(&to).await.unwrap_or_default();
        let left = source.balance.checked_sub(amount);
        source.balance = left.ok_or(Insufficient { held: source.balance })?;
        target.balance += amount;
        source.references.push(reference.clone());
        target.references.push(reference.clone());
        tx.put(&from, &source);
        tx.put(&to, &target);
        self.pass(&reference, Point::End).await;
        Ok(source.balance)
    }

    async fn compare(
        &self,
        tx: &mut Tx,
        one: Account,
        other: Account,
        reference: String,
    ) -> Result<(), Sum> {
        self.pass(&reference, Point::Start).await;
        let first = tx.get(&one).await.unwrap_or_default();
        self.pass(&reference, Point::Between).await;
        let second = tx.get(&other).await.unwrap_or_default();
        Err(Sum(first.balance + second.balance))
    }

    async fn transfer_if(
        &self,
        tx: &mut Tx,
        from: Account,
        to: Account,
        witness: Account,
        amount: u64,
        reference: String,
    ) -> Result<u64, Insufficient> {
        let seen = tx.get(&witness).await.unwrap_or_default();
        if seen.balance == 0 {
            return Err(Insufficient { held: 0 });
        }
        self.transfer(tx, from, to, amount, reference).await
    }

    async fn remove(&self, tx: &mut Tx, of: Account, reference: String) -> u64 {
        self.pass(&reference, Point::Start).await;
        let held = tx.get(&of).await.map_or(0, |book| book.balance);
        tx.delete(&of);
        self.pass(&reference, Point::End).await;
        held
    }

    async fn collect(&self, tx: &mut Tx, to: Account, amount: u64, reference: String) -> u64 {
        self.deposit(tx, to, amount, reference).await
    }

    async fn balance(&self, view: &View, of: Account, reference: String) -> u64 {
        self.pass(&reference, Point::Start).await;
        view.get(&of).await.map_or(0, |book| book.balance)
    }

    async fn echo(&self, text: String) -> String {
        self.pass(&text, Point::Start).await;
        text
    }
}
