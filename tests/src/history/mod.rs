//! What callers of a bank were told, what its statements say in the end, and whether both can be true.
//!
//! Whoever runs a bank under faults writes down a [`History`]: the simulation its few calls with the
//! counts of one thread, the real processes of chaos thousands with the machine's monotonic clock.
//! [`check`] judges both by the same rules.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `mod.rs` | [`History`] and [`check`] |
//! | `no.rs` | [`No`]: the ways in which the bank refuses |
//! | `lists.rs` | each call stands in the statements as often as its caller was told; no money is made |
//! | `order.rs` | there is one order of all calls that explains every result (by the statements) |
//! | `teller.rs` | the bank as a sequential object, and the same by an independent checker |

mod lists;
mod no;
mod order;
mod teller;
#[cfg(test)]
mod tests;

use std::fmt;

use bank_business::{AccountName, Entry, Movement, StatementPage};
use foldhash::HashMap;
use serde::{Deserialize, Serialize};

pub use self::no::No;

/// The number of an account.
pub type Account = u16;

/// What a call is to do. Amounts are cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Opens an account.
    Open(Account),
    /// Brings money in.
    Deposit(Account, u16),
    /// Takes money out.
    Withdraw(Account, u16),
    /// Moves money from the first to the second.
    Transfer(Account, Account, u16),
    /// Closes an account.
    Close(Account),
    /// Reads what an account holds.
    Balance(Account),
    /// Reads a page of a statement, counted from 1.
    Statement(Account, u8),
    /// Reads the last entry of a statement.
    Last(Account),
}

/// How a call ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// A write took effect.
    Done {
        /// The reference on its receipt.
        reference: String,
        /// The balance on its receipt, in cents.
        balance: u64,
    },
    /// A balance was read, in cents.
    Balance(u64),
    /// A page was read.
    Page(StatementPage),
    /// The last entry was read: its reference. `None`: there is no entry.
    Last(Option<String>),
    /// The business said no.
    No(No),
    /// It has not taken effect and never will; or it was a read that has seen nothing.
    NotExecuted(String),
    /// Nobody can say any more, and the reason is one after which nobody can.
    Lost(String),
    /// Its caller dropped it.
    Dropped,
    /// Its client died.
    Crashed,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it is called in statements.
    pub reference: String,
    /// What it was to do.
    pub ask: Ask,
    /// When it was made.
    pub begin: u64,
    /// When its outcome was known, by the same clock. `None`: never, so that it may take effect at any
    /// later time.
    pub end: Option<u64>,
    /// How it ended.
    pub ended: Ended,
}

/// An account with its whole statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// What it holds, in cents.
    pub balance: u64,
    /// Whether it was closed.
    pub closed: bool,
    /// All its entries, oldest first.
    pub entries: Vec<Entry>,
}

/// All that was seen of a bank.
#[derive(Clone, Debug)]
pub struct History {
    /// By account: the entries that were there at the start. Accounts that are left out had none.
    pub first: Vec<Vec<Entry>>,
    /// All calls, in any order.
    pub calls: Vec<Call>,
    /// By account: what is found in the end. `None`: it was never opened.
    pub books: Vec<Option<Book>>,
    /// Whether clocks kept to what leases need. If not, calls may take effect more than once, and no
    /// order is promised.
    pub is_once: bool,
}

/// A rule that was broken, and how.
pub type Broken = (&'static str, String);

/// Checks everything.
///
/// # Errors
/// The first rule that is broken.
pub fn check(history: &History) -> Result<(), Broken> {
    let names = Names::of(history);
    let taken = lists::check(history, &names)?;
    if !history.is_once {
        return Ok(());
    }
    let operations = operations(history, &names, &taken);
    order::check(&order::Statements::of(history, &names), &operations)?;
    if operations.len() <= teller::MOST_OPERATIONS {
        teller::check(&names.first_lines(history), &operations)?;
    }
    Ok(())
}

/// The name of an account.
///
/// # Panics
/// Never: all numbers make names.
#[must_use]
pub fn account_name(account: Account) -> AccountName {
    format!("a{account}").parse().expect("a short name")
}

/// What was asked and answered, as a checker of orders wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Operation {
    number: u32,
    ask: Ask,
    begin: u64,
    /// Never: the operation may take effect at any time after it was asked for.
    end: Option<u64>,
    answer: Answer,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// It took effect; the balance of the anchor after it, in cents.
    Done(u64),
    /// It took effect, and nobody was told.
    Unheard,
    Balance(u64),
    /// The calls and balances on a page, and whether there is a next one.
    Page(Vec<Line>, bool),
    /// The call of the last line.
    Last(Option<u32>),
    No(No),
}

/// A line of a statement: the call, and the balance after it.
type Line = (u32, u64);

/// The calls that took effect or saw something, by their beginnings. `taken`: those that stand in
/// statements.
fn operations(history: &History, names: &Names<'_>, taken: &[bool]) -> Vec<Operation> {
    let operation = |(number, call): (usize, &Call)| {
        let answer = match &call.ended {
            Ended::Done { balance, .. } => Answer::Done(*balance),
            Ended::Balance(cents) => Answer::Balance(*cents),
            Ended::Page(page) => {
                let lines = page.entries.iter().map(|entry| names.line(entry)).collect();
                Answer::Page(lines, page.next.is_some())
            }
            Ended::Last(last) => Answer::Last(last.as_deref().map(|last| names.number(last))),
            Ended::No(no) => Answer::No(no.clone()),
            _ if taken[number] => Answer::Unheard,
            _ => return None,
        };
        let end = call.end.filter(|_| answer != Answer::Unheard);
        Some(Operation { number: number as u32, ask: call.ask, begin: call.begin, end, answer })
    };
    let mut all: Vec<Operation> = history.calls.iter().enumerate().filter_map(operation).collect();
    all.sort_by_key(|operation| operation.begin);
    all
}

/// The numbers of calls by what statements call them.
struct Names<'a>(HashMap<&'a str, u32>);

/// What was there at the start is numbered from here on.
const FIRST: u32 = 1 << 31;

impl<'a> Names<'a> {
    fn of(history: &'a History) -> Names<'a> {
        let mut names = HashMap::default();
        for first in &history.first {
            let entries = first.iter().map(|entry| entry.reference.as_str());
            names.extend(entries.zip(FIRST..));
        }
        names.extend(history.calls.iter().map(|call| call.reference.as_str()).zip(0..));
        Names(names)
    }

    /// A call, or what was there at the start, or `u32::MAX` for what nobody knows.
    fn number(&self, reference: &str) -> u32 {
        self.0.get(reference).copied().unwrap_or(u32::MAX)
    }

    fn line(&self, entry: &Entry) -> Line {
        (self.number(entry.reference.as_str()), entry.balance.cents())
    }

    fn first_lines(&self, history: &History) -> Vec<Vec<Line>> {
        let lines = |first: &Vec<Entry>| first.iter().map(|entry| self.line(entry)).collect();
        history.first.iter().map(lines).collect()
    }
}

impl Ask {
    /// Whether it may change something.
    #[must_use]
    pub fn is_write(self) -> bool {
        !matches!(self, Ask::Balance(_) | Ask::Statement(..) | Ask::Last(_))
    }

    /// The account that carries its record.
    #[must_use]
    pub fn anchor(self) -> Account {
        match self {
            Ask::Open(account)
            | Ask::Deposit(account, _)
            | Ask::Withdraw(account, _)
            | Ask::Transfer(account, ..)
            | Ask::Close(account)
            | Ask::Balance(account)
            | Ask::Statement(account, _)
            | Ask::Last(account) => account,
        }
    }

    /// The account that a transfer brings money to.
    fn payee(self) -> Option<Account> {
        match self {
            Ask::Transfer(_, to, _) => Some(to),
            _ => None,
        }
    }

    /// The accounts that it changes if it takes effect, the anchor first.
    pub fn changes(self) -> impl Iterator<Item = Account> {
        self.is_write().then(|| self.anchor()).into_iter().chain(self.payee())
    }
}

impl Book {
    /// What a statement says of its account. `None`: there is none.
    #[must_use]
    pub fn of(entries: Vec<Entry>) -> Option<Book> {
        let last = entries.last()?;
        let (balance, closed) = (last.balance.cents(), last.movement == Movement::Closed);
        Some(Book { balance, closed, entries })
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Done { reference, balance } => write!(f, "done as {reference}, {balance} left"),
            Ended::Balance(cents) => write!(f, "balance {cents}"),
            Ended::Page(page) => write!(f, "page {} of {} entries", page.page, page.entries.len()),
            Ended::Last(Some(reference)) => write!(f, "the last entry is {reference}"),
            Ended::Last(None) => f.write_str("there is no entry"),
            Ended::No(no) => write!(f, "no: {no:?}"),
            Ended::NotExecuted(why) => write!(f, "not executed: {why}"),
            Ended::Lost(why) => write!(f, "unknown for ever: {why}"),
            Ended::Dropped => f.write_str("dropped"),
            Ended::Crashed => f.write_str("its client crashed"),
        }
    }
}
