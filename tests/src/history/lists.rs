//! Each call stands in the statements as often as its caller was told, and no money is made.

use bank_business::{Amount, Entry, Movement};

use super::{Account, Ask, Book, Broken, Call, Ended, FIRST, History, Names, account_name};

const ONCE: &str = "each acknowledged call takes effect once";
const NEVER: &str = "a call that was not executed never is";
const UNKNOWN: &str = "an unknown call takes effect at most once";
const WHOLE: &str = "a call takes effect on all its accounts or on none";
const CHAIN: &str = "money is conserved";
const OWN: &str = "a response reaches only its own call";
const SEEN: &str = "what was read is not lost";

/// How often each call stands in the statements of its accounts: of its anchor, and of a second one.
type Found = Vec<[u8; 2]>;

/// Checks it. Returns which calls took effect.
pub(super) fn check(history: &History, names: &Names<'_>) -> Result<Vec<bool>, Broken> {
    let mut found = vec![[0; 2]; history.calls.len()];
    for account in 0..history.first.len().max(history.books.len()) {
        check_book(history, names, account as Account, &mut found)?;
    }
    for (call, found) in history.calls.iter().zip(&found) {
        check_call(call, *found, history.is_once)?;
        check_answer(history, call)?;
    }
    Ok(found.iter().map(|found| found.iter().any(|times| *times > 0)).collect())
}

/// The whole statement of one account: the beginning is as it was, each balance follows from the
/// one before, each entry is what its call asked for.
fn check_book(
    history: &History,
    names: &Names<'_>,
    account: Account,
    found: &mut Found,
) -> Result<(), Broken> {
    let first = history.first.get(usize::from(account)).map_or(&[][..], Vec::as_slice);
    let Some(book) = book_of(history, account) else {
        return if first.is_empty() { Ok(()) } else { Err((CHAIN, format!("a{account} is gone"))) };
    };
    if !book.entries.starts_with(first) {
        return Err((CHAIN, format!("a{account} does not begin as it did: {:?}", book.entries)));
    }
    let mut balance = first.last().map_or(0, |entry| entry.balance.cents() as i64);
    for entry in &book.entries[first.len()..] {
        balance += entry.movement.change();
        if balance != entry.balance.cents() as i64 {
            return Err((CHAIN, format!("a{account} holds {balance} cents, but says {entry:?}")));
        }
        let number = names.number(entry.reference.as_str());
        let Some(call) = history.calls.get(number as usize).filter(|_| number < FIRST) else {
            return Err((ONCE, format!("a{account} has an entry of nobody's: {entry:?}")));
        };
        if movement_of(call.ask, account) != Some(entry.movement.clone()) {
            let ask = call.ask;
            return Err((OWN, format!("{} asked for {ask:?}: {entry:?}", entry.reference)));
        }
        let times = &mut found[number as usize][usize::from(account != call.ask.anchor())];
        *times = times.saturating_add(1);
    }
    let is_closed =
        matches!(book.entries.last().map(|last| &last.movement), Some(Movement::Closed));
    if balance != book.balance as i64 || is_closed != book.closed {
        return Err((CHAIN, format!("a{account} is not what its statement says: {book:?}")));
    }
    Ok(())
}

fn book_of(history: &History, account: Account) -> Option<&Book> {
    history.books.get(usize::from(account))?.as_ref()
}

/// What a call does to an account if it takes effect.
fn movement_of(ask: Ask, account: Account) -> Option<Movement> {
    let amount = |cents: u16| Amount::from_cents(cents.into()).expect("more than nothing");
    match ask {
        Ask::Open(at) if at == account => Some(Movement::Opened),
        Ask::Close(at) if at == account => Some(Movement::Closed),
        Ask::Deposit(at, cents) if at == account => {
            Some(Movement::Deposit { amount: amount(cents) })
        }
        Ask::Withdraw(at, cents) if at == account => {
            Some(Movement::Withdrawal { amount: amount(cents) })
        }
        Ask::Transfer(from, to, cents) if from == account => {
            Some(Movement::TransferOut { to: account_name(to), amount: amount(cents) })
        }
        Ask::Transfer(from, to, cents) if to == account => {
            Some(Movement::TransferIn { from: account_name(from), amount: amount(cents) })
        }
        _ => None,
    }
}

/// A call stands in statements as often as its caller was told.
fn check_call(call: &Call, found: [u8; 2], is_once: bool) -> Result<(), Broken> {
    let its = || call.ask.changes().zip(found).map(|(_, times)| times);
    let times = its().next().unwrap_or(0);
    let told = || {
        let Call { reference, ask, ended, .. } = call;
        format!("{reference} ({ask:?}) {ended}; entries: {found:?}")
    };
    if its().any(|other| other != times) {
        return Err((WHOLE, told()));
    }
    let (rule, least, most) = match &call.ended {
        Ended::Done { .. } => (ONCE, 1, 1),
        Ended::NotExecuted(_) | Ended::No(_) => (NEVER, 0, 0),
        Ended::Balance(_) | Ended::Page(_) | Ended::Last(_) => (NEVER, 0, 0),
        Ended::Lost(_) | Ended::Dropped | Ended::Crashed => (UNKNOWN, 0, 1),
    };
    if times < least || (times > most && is_once) {
        return Err((rule, told()));
    }
    Ok(())
}

/// An answer belongs to its call, and says what the statement says.
fn check_answer(history: &History, call: &Call) -> Result<(), Broken> {
    let anchor = call.ask.anchor();
    let entries = book_of(history, anchor).map_or(&[][..], |book| &book.entries);
    let mine = &call.reference;
    match &call.ended {
        Ended::Done { reference: told, balance } => {
            if told != mine {
                return Err((OWN, format!("{mine} got the receipt of {told}")));
            }
            let is_so = |entry: &Entry| {
                entry.reference.as_str() == mine && entry.balance.cents() == *balance
            };
            if !entries.iter().any(is_so) {
                return Err((OWN, format!("{mine} was told of {balance} cents: {entries:?}")));
            }
        }
        Ended::Page(page) => {
            if let Some(odd) = page.entries.iter().find(|entry| !entries.contains(entry)) {
                return Err((OWN, format!("a statement of a{anchor} had {odd:?}: {entries:?}")));
            }
        }
        Ended::Last(Some(seen))
            if !entries.iter().any(|entry| entry.reference.as_str() == seen) =>
        {
            return Err((SEEN, format!("{mine} saw {seen} in a{anchor}: {entries:?}")));
        }
        Ended::No(no) => {
            let other = call.ask.changes().last().unwrap_or(anchor);
            let own = [anchor, other].map(|account| format!("a{account}"));
            if no.account().is_some_and(|name| !own.iter().any(|own| own == name)) {
                return Err((OWN, format!("{mine} asked {:?}: {no:?}", call.ask)));
            }
        }
        _ => {}
    }
    Ok(())
}
