//! Each call stands in the statements as often as its caller was told, and no money is made.

use bank_business::{Entry, Movement};

use super::super::bank::{account_name, first_entries};
use super::super::books::Book;
use super::super::calls::{Ended, Made, number_of, reference};
use super::super::plan::{ACCOUNTS, Ask};
use super::{Broken, Line, Seen, is_within_margin};

const ONCE: &str = "each acknowledged call takes effect once";
const NEVER: &str = "a call that was not executed never is";
const UNKNOWN: &str = "an unknown call takes effect at most once";
const WHOLE: &str = "a call takes effect on all its accounts or on none";
const CHAIN: &str = "money is conserved";
const OWN: &str = "a response reaches only its own call";

/// What a statement calls what was there at the start.
const PRELOADED: u16 = 1_000;

/// Checks it. Returns which calls took effect.
pub(super) fn check(seen: &Seen<'_>) -> Result<Vec<bool>, Broken> {
    let mut found = vec![[0u8; ACCOUNTS as usize]; seen.calls.len()];
    for account in 0..ACCOUNTS {
        let first = seen.plan.accounts.get(usize::from(account)).copied().unwrap_or(0);
        let book = seen.books.get(usize::from(account)).and_then(Option::as_ref);
        check_book(seen, account, first, book, &mut found)?;
    }
    let is_exact = is_within_margin(seen.plan);
    for ((number, call), found) in seen.calls.iter().enumerate().zip(&found) {
        check_call(number as u8, call, *found, is_exact)?;
        check_answer(seen, number as u8, call)?;
    }
    Ok(found.iter().map(|found| found.iter().any(|times| *times > 0)).collect())
}

/// A line of a statement, short.
pub(super) fn line(entry: &Entry) -> Line {
    let name = entry.reference.as_str();
    let number = number_of(name).map(u16::from);
    let preloaded = || name.strip_prefix('p')?.parse::<u16>().ok().map(|count| PRELOADED + count);
    (number.or_else(preloaded).unwrap_or(u16::MAX), entry.balance.cents())
}

/// The whole statement of one account: the beginning is as it was, each balance follows from the
/// one before, each entry is what its call asked for.
fn check_book(
    seen: &Seen<'_>,
    account: u8,
    first: u8,
    book: Option<&Book>,
    found: &mut [[u8; ACCOUNTS as usize]],
) -> Result<(), Broken> {
    let first = first_entries(first);
    let Some(book) = book else {
        return if first.is_empty() { Ok(()) } else { Err((CHAIN, format!("a{account} is gone"))) };
    };
    if !book.entries.starts_with(&first) {
        return Err((CHAIN, format!("a{account} does not begin as it did: {:?}", book.entries)));
    }
    let mut balance = first.last().map_or(0, |entry| entry.balance.cents() as i64);
    for entry in &book.entries[first.len()..] {
        balance += entry.movement.change();
        if balance != entry.balance.cents() as i64 {
            return Err((CHAIN, format!("a{account} holds {balance} cents, but says {entry:?}")));
        }
        let number = number_of(entry.reference.as_str()).map(usize::from);
        let Some((number, call)) =
            number.and_then(|number| Some((number, seen.calls.get(number)?)))
        else {
            return Err((ONCE, format!("a{account} has an entry of nobody's: {entry:?}")));
        };
        if movement_of(call.plan.ask, account) != Some(entry.movement.clone()) {
            let ask = call.plan.ask;
            return Err((OWN, format!("{} asked for {ask:?}: {entry:?}", entry.reference)));
        }
        found[number][usize::from(account)] += 1;
    }
    let is_closed =
        matches!(book.entries.last().map(|last| &last.movement), Some(Movement::Closed));
    if balance != book.balance as i64 || is_closed != book.closed {
        return Err((CHAIN, format!("a{account} is not what its statement says: {book:?}")));
    }
    Ok(())
}

/// What a call does to an account if it takes effect.
fn movement_of(ask: Ask, account: u8) -> Option<Movement> {
    let amount = |cents: u16| bank_business::Amount::from_cents(cents.into()).expect("as planned");
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
fn check_call(
    number: u8,
    call: &Made,
    found: [u8; ACCOUNTS as usize],
    is_exact: bool,
) -> Result<(), Broken> {
    let its: Vec<u8> = call.plan.ask.changes().map(|account| found[usize::from(account)]).collect();
    let times = its.first().copied().unwrap_or(0);
    let told = || {
        let ended = call.ended.as_ref().map_or("not made".to_owned(), ToString::to_string);
        format!("{} ({:?}) {ended}; entries: {found:?}", reference(number), call.plan.ask)
    };
    if its.iter().any(|other| *other != times) {
        return Err((WHOLE, told()));
    }
    let (rule, least, most) = match &call.ended {
        Some(Ended::Done { .. }) => (ONCE, 1, 1),
        Some(Ended::NotExecuted(_) | Ended::No(_)) | None => (NEVER, 0, 0),
        Some(Ended::Balance(_) | Ended::Page(_)) => (NEVER, 0, 0),
        Some(Ended::Lost(_) | Ended::Dropped | Ended::Crashed) => (UNKNOWN, 0, 1),
    };
    if times < least || (times > most && is_exact) {
        return Err((rule, told()));
    }
    Ok(())
}

/// An answer belongs to its call, and says what the statement says.
fn check_answer(seen: &Seen<'_>, number: u8, call: &Made) -> Result<(), Broken> {
    let anchor = call.plan.ask.anchor();
    let entries = seen.books[usize::from(anchor)].as_ref().map_or(&[][..], |book| &book.entries);
    match &call.ended {
        Some(Ended::Done { reference: told, balance }) => {
            let mine = reference(number);
            if *told != mine {
                return Err((OWN, format!("{mine} got the receipt of {told}")));
            }
            let is_so = |entry: &Entry| {
                entry.reference.as_str() == mine && entry.balance.cents() == *balance
            };
            if !entries.iter().any(is_so) {
                return Err((OWN, format!("{mine} was told of {balance} cents: {entries:?}")));
            }
        }
        Some(Ended::Page(page)) => {
            if let Some(odd) = page.entries.iter().find(|entry| !entries.contains(entry)) {
                return Err((OWN, format!("a statement of a{anchor} had {odd:?}: {entries:?}")));
            }
        }
        Some(Ended::No(no)) => {
            let names = super::order::accounts_of(no);
            let own = |name: &String| {
                let (one, other) = match call.plan.ask {
                    Ask::Transfer(from, to, _) => (from, to),
                    ask => (ask.anchor(), ask.anchor()),
                };
                *name == format!("a{one}") || *name == format!("a{other}")
            };
            if !names.iter().all(own) {
                return Err((
                    OWN,
                    format!("{} asked {:?}: {no:?}", reference(number), call.plan.ask),
                ));
            }
        }
        _ => {}
    }
    Ok(())
}
