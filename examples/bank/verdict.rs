//! The verdict: whether what the callers were told is what stands in the statements.
//!
//! A pure function over the history and the statements, so that wrong histories can be shown to
//! it. A total alone would not do: a transfer that was executed twice leaves it right.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use bank_business::{AccountName, Entry, Reference};

use crate::history::{Ending, Record, Statement, Statements};

/// What was checked, and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many movements were asked for.
    pub(crate) movements: usize,
    /// How many accounts were read back.
    pub(crate) accounts: usize,
    /// How many entries stand in their statements.
    pub(crate) entries: usize,
    /// What is on all accounts together, in cents.
    pub(crate) money: i128,
    /// All that is wrong.
    pub(crate) wrong: Vec<Wrong>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Acknowledged, and in no statement.
    Lost { reference: Reference },
    /// Acknowledged, and in only one of the two statements.
    OneLegOnly { reference: Reference, present: AccountName, missing: AccountName },
    /// Acknowledged, and more than once in a statement.
    Doubled { reference: Reference, account: AccountName, times: usize },
    /// In a statement as something else than what was asked for.
    Altered { reference: Reference, account: AccountName, asked: String, found: String },
    /// The receipt is not what the statement says.
    OtherReceipt { reference: Reference, receipt: String, statement: String },
    /// Reported as not executed, or refused, and yet in a statement.
    ExecutedAfterAll { reference: Reference, account: AccountName, reported: String },
    /// In a statement that the movement does not concern, or asked for by nobody.
    Phantom { reference: Reference, account: AccountName },
    /// Still unknown after asking again.
    Unsettled { reference: Reference, reason: String },
    /// One movement was over before the other began, and stands behind it.
    OutOfOrder { account: AccountName, earlier: Reference, later: Reference },
    /// An entry's balance does not follow from the one before.
    BrokenChain { account: AccountName, reference: Reference, expected: i128, found: i128 },
    /// An account's balance is not the sum of its entries.
    OtherBalance { account: AccountName, expected: i128, found: i128 },
    /// The accounts together do not hold what was deposited less what was withdrawn.
    OtherTotal { expected: i128, found: i128 },
}

/// Where a reference stands.
type Places<'a> = HashMap<&'a Reference, Vec<(&'a AccountName, &'a Entry)>>;

/// Passes the verdict. Every reference of the history must be used for one movement only, and the
/// statements must be those of all accounts that it names, read when all was over.
pub(crate) fn judge(history: &[Record], statements: &Statements) -> Verdict {
    let mut places = Places::new();
    for (account, statement) in statements {
        for entry in &statement.entries {
            places.entry(&entry.reference).or_default().push((account, entry));
        }
    }
    let mut wrong = Vec::new();
    for record in history {
        let found = places.remove(&record.reference).unwrap_or_default();
        judge_record(record, &found, &mut wrong);
    }
    // What nobody asked for, in a settled order: what is left in the map has none.
    let nobodys: BTreeMap<_, _> = places.into_iter().collect();
    for (reference, found) in nobodys {
        wrong.extend(found.iter().map(|(account, _)| phantom(reference, account)));
    }
    let spans = history.iter().map(|record| (&record.reference, (record.began, record.ended)));
    let spans: HashMap<_, _> = spans.collect();
    for (account, statement) in statements {
        judge_account(account, statement, &mut wrong);
        judge_order(account, statement, &spans, &mut wrong);
    }
    let money = judge_total(history, statements, &mut wrong);
    Verdict {
        movements: history.len(),
        accounts: statements.len(),
        entries: statements.values().map(|statement| statement.entries.len()).sum(),
        money,
        wrong,
    }
}

impl Verdict {
    /// Whether nothing is wrong.
    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Whether one movement is where it must be, and nowhere else.
fn judge_record(record: &Record, found: &[(&AccountName, &Entry)], wrong: &mut Vec<Wrong>) {
    let reference = &record.reference;
    match &record.ending {
        Ending::Acknowledged(_) => judge_acknowledged(record, found, wrong),
        Ending::Refused(_) | Ending::NotExecuted(_) => {
            wrong.extend(found.iter().map(|(account, _)| Wrong::ExecutedAfterAll {
                reference: reference.clone(),
                account: (*account).clone(),
                reported: record.ending.to_string(),
            }));
        }
        Ending::Unsettled(reason) => {
            wrong.push(Wrong::Unsettled { reference: reference.clone(), reason: reason.clone() });
        }
    }
}

fn judge_acknowledged(record: &Record, found: &[(&AccountName, &Entry)], wrong: &mut Vec<Wrong>) {
    let reference = &record.reference;
    let legs = record.order.legs();
    let mut present = Vec::new();
    let mut missing = Vec::new();
    for (account, movement) in &legs {
        let here: Vec<&Entry> =
            found.iter().filter(|(at, _)| at == account).map(|(_, entry)| *entry).collect();
        let Some(entry) = here.first() else {
            missing.push(*account);
            continue;
        };
        present.push(*account);
        if here.len() > 1 {
            wrong.push(Wrong::Doubled {
                reference: reference.clone(),
                account: (*account).clone(),
                times: here.len(),
            });
        }
        if entry.movement != *movement {
            wrong.push(Wrong::Altered {
                reference: reference.clone(),
                account: (*account).clone(),
                asked: movement.to_string(),
                found: entry.movement.to_string(),
            });
        }
    }
    match (present.first(), missing.first()) {
        (None, _) => wrong.push(Wrong::Lost { reference: reference.clone() }),
        (Some(present), Some(missing)) => wrong.push(Wrong::OneLegOnly {
            reference: reference.clone(),
            present: (*present).clone(),
            missing: (*missing).clone(),
        }),
        (Some(_), None) => {}
    }
    let elsewhere = found.iter().filter(|(at, _)| legs.iter().all(|(account, _)| account != at));
    wrong.extend(elsewhere.map(|(account, _)| phantom(reference, account)));
    judge_receipt(record, found, legs.first().map(|(account, _)| *account), wrong);
}

/// Whether the receipt names the movement, and the balance that its entry names.
fn judge_receipt(
    record: &Record,
    found: &[(&AccountName, &Entry)],
    payer: Option<&AccountName>,
    wrong: &mut Vec<Wrong>,
) {
    let Ending::Acknowledged(receipt) = &record.ending else { return };
    let Some((_, entry)) = found.iter().find(|(at, _)| Some(*at) == payer) else { return };
    if receipt.reference != record.reference || receipt.balance != entry.balance {
        wrong.push(Wrong::OtherReceipt {
            reference: record.reference.clone(),
            receipt: format!("{} with balance {}", receipt.reference, receipt.balance),
            statement: format!("balance {}", entry.balance),
        });
    }
}

/// Whether each entry follows from the one before, and the balance from all of them.
fn judge_account(account: &AccountName, statement: &Statement, wrong: &mut Vec<Wrong>) {
    let mut before = 0i128;
    let mut sum = 0i128;
    for entry in &statement.entries {
        let change = i128::from(entry.movement.change());
        let found = i128::from(entry.balance.cents());
        if before + change != found {
            wrong.push(Wrong::BrokenChain {
                account: account.clone(),
                reference: entry.reference.clone(),
                expected: before + change,
                found,
            });
        }
        before = found;
        sum += change;
    }
    let found = i128::from(statement.balance.cents());
    if sum != found {
        wrong.push(Wrong::OtherBalance { account: account.clone(), expected: sum, found });
    }
}

/// Whether the statement keeps the order of the clock: what was over before another movement
/// began must stand before it.
fn judge_order(
    account: &AccountName,
    statement: &Statement,
    spans: &HashMap<&Reference, (Duration, Duration)>,
    wrong: &mut Vec<Wrong>,
) {
    let mut latest: Option<(Duration, &Reference)> = None;
    for entry in &statement.entries {
        let Some((began, ended)) = spans.get(&entry.reference) else { continue };
        if let Some((latest_began, before)) = latest
            && ended < &latest_began
        {
            wrong.push(Wrong::OutOfOrder {
                account: account.clone(),
                earlier: entry.reference.clone(),
                later: before.clone(),
            });
        }
        if latest.is_none_or(|(latest_began, _)| latest_began < *began) {
            latest = Some((*began, &entry.reference));
        }
    }
}

/// Whether money was made or destroyed. Returns what there is.
fn judge_total(history: &[Record], statements: &Statements, wrong: &mut Vec<Wrong>) -> i128 {
    let acknowledged = |record: &&Record| matches!(record.ending, Ending::Acknowledged(_));
    let expected: i128 =
        history.iter().filter(acknowledged).map(|record| record.order.money()).sum();
    let found: i128 =
        statements.values().map(|statement| i128::from(statement.balance.cents())).sum();
    if expected != found {
        wrong.push(Wrong::OtherTotal { expected, found });
    }
    found
}

fn phantom(reference: &Reference, account: &AccountName) -> Wrong {
    Wrong::Phantom { reference: reference.clone(), account: account.clone() }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Lost { reference } => {
                write!(f, "{reference}: was acknowledged, but stands in no statement")
            }
            Wrong::OneLegOnly { reference, present, missing } => write!(
                f,
                "{reference}: was acknowledged, but stands only with {present}, not with {missing}"
            ),
            Wrong::Doubled { reference, account, times } => {
                write!(f, "{reference}: stands {times} times in the statement of {account}")
            }
            Wrong::Altered { reference, account, asked, found } => {
                write!(f, "{reference}: asked for {asked}, but {account} has {found}")
            }
            Wrong::OtherReceipt { reference, receipt, statement } => {
                write!(f, "{reference}: the receipt says {receipt}, the statement {statement}")
            }
            Wrong::ExecutedAfterAll { reference, account, reported } => {
                write!(f, "{reference}: was {reported}, but stands in the statement of {account}")
            }
            Wrong::Phantom { reference, account } => {
                write!(f, "{reference}: stands in the statement of {account}, where nobody put it")
            }
            Wrong::Unsettled { reference, reason } => {
                write!(f, "{reference}: is unknown even after asking again: {reason}")
            }
            Wrong::OutOfOrder { account, earlier, later } => write!(
                f,
                "{earlier}: was over before {later} began, but {account} has it behind that one"
            ),
            Wrong::BrokenChain { account, reference, expected, found } => write!(
                f,
                "{reference}: {account} must hold {expected} cents after it, its entry says {found}"
            ),
            Wrong::OtherBalance { account, expected, found } => {
                write!(f, "{account}: its entries sum to {expected} cents, but it holds {found}")
            }
            Wrong::OtherTotal { expected, found } => {
                write!(f, "money: {expected} cents were paid in and not out, but {found} are there")
            }
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
