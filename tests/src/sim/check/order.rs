//! There is one order of all calls that explains every result: strict serializability.
//!
//! The statements say in which order the writes of an account took effect. So a state of the bank
//! is a position in each statement, and what is searched for is a way from the first to the last,
//! taking each call at a position where its result is true, and no call before one that had ended
//! when it was made. The search is complete: if it finds no way, there is none.

use foldhash::HashSet;

use super::super::bank::first_entries;
use super::super::books::Book;
use super::super::calls::No;
use super::super::plan::{ACCOUNTS, Ask, Plan};
use super::lists::line;
use super::{Answer, Broken, Line, Operation};

const RULE: &str = "one order of all calls explains every result";

/// The statements of all accounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Statements {
    pub(super) all: [Statement; ACCOUNTS as usize],
}

/// The statement of one account: its calls in the order in which they took effect.
#[derive(Clone, Debug, Default)]
pub(super) struct Statement {
    /// How many lines were there at the start.
    pub(super) first: usize,
    pub(super) lines: Vec<Line>,
    /// Whether its last line is the one that closed it.
    pub(super) closed: bool,
}

/// What an account is at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) balance: u64,
    pub(super) closed: bool,
}

type Positions = [u8; ACCOUNTS as usize];

/// A call at most; more are a world that is too large for this.
type Set = u128;

impl Statements {
    pub(super) fn of(plan: &Plan, books: &[Option<Book>]) -> Statements {
        let mut statements = Statements::default();
        for (account, book) in books.iter().enumerate() {
            let first = plan.accounts.get(account).copied().unwrap_or(0);
            if let Some(book) = book {
                statements.all[account] = Statement {
                    first: first_entries(first).len(),
                    lines: book.entries.iter().map(line).collect(),
                    closed: book.closed,
                };
            }
        }
        statements
    }

    /// What an account is once this many calls have taken effect on it.
    fn state(&self, account: u8, position: u8) -> Option<State> {
        let statement = &self.all[usize::from(account)];
        let count = statement.first + usize::from(position);
        let (_, balance) = *statement.lines.get(count.checked_sub(1)?)?;
        let closed = statement.closed && count == statement.lines.len();
        Some(State { balance, closed })
    }

    fn next(&self, account: u8, position: u8) -> Option<u16> {
        let statement = &self.all[usize::from(account)];
        statement.lines.get(statement.first + usize::from(position)).map(|(number, _)| *number)
    }
}

/// Searches for an order.
pub(super) fn check(statements: &Statements, operations: &[Operation]) -> Result<(), Broken> {
    if operations.len() > Set::BITS as usize {
        return Ok(());
    }
    let mut search = Search { statements, operations, seen: HashSet::default(), farthest: 0 };
    if search.goes_on([0; ACCOUNTS as usize], 0) {
        return Ok(());
    }
    let farthest = search.farthest;
    let open = (0..operations.len()).filter(|index| farthest & 1 << index == 0);
    let open: Vec<String> = open.map(|index| format!("{:?}", operations[index])).collect();
    Err((RULE, format!("no order for {}; statements {statements:?}", open.join("; "))))
}

struct Search<'a> {
    statements: &'a Statements,
    operations: &'a [Operation],
    /// Where no way goes on from.
    seen: HashSet<(Positions, Set)>,
    /// The most calls that any way has come past.
    farthest: Set,
}

impl Search<'_> {
    /// Whether a way goes on from here to the end.
    fn goes_on(&mut self, positions: Positions, done: Set) -> bool {
        // What only looks changes nothing: if it can be taken now, it may as well be.
        let done = self.take_looks(positions, done);
        if done.count_ones() > self.farthest.count_ones() {
            self.farthest = done;
        }
        let all = self.operations.len();
        if done.count_ones() as usize == all {
            return true;
        }
        if !self.seen.insert((positions, done)) {
            return false;
        }
        let first_return = self.first_return(done);
        for (index, operation) in self.operations.iter().enumerate() {
            let is_open = done & 1 << index == 0 && operation.invoked < first_return;
            let is_write = matches!(operation.answer, Answer::Done(_) | Answer::Unheard);
            if !is_open || !is_write {
                continue;
            }
            let number = u16::from(operation.number);
            let is_next = |account: u8| {
                self.statements.next(account, positions[usize::from(account)]) == Some(number)
            };
            if !operation.ask.changes().all(is_next) || !self.may_write(operation, positions) {
                continue;
            }
            let mut after = positions;
            operation.ask.changes().for_each(|account| after[usize::from(account)] += 1);
            if self.goes_on(after, done | 1 << index) {
                return true;
            }
        }
        false
    }

    fn take_looks(&self, positions: Positions, mut done: Set) -> Set {
        loop {
            let before = done;
            let first_return = self.first_return(done);
            for (index, operation) in self.operations.iter().enumerate() {
                let is_open = done & 1 << index == 0 && operation.invoked < first_return;
                if is_open && self.explains(operation, positions) {
                    done |= 1 << index;
                }
            }
            if done == before {
                return done;
            }
        }
    }

    /// When the first open call has ended: a call that was made later comes after it.
    fn first_return(&self, done: Set) -> u64 {
        let open = self.operations.iter().enumerate().filter(|(index, _)| done & 1 << index == 0);
        open.filter_map(|(_, operation)| operation.returned).min().unwrap_or(u64::MAX)
    }

    fn may_write(&self, operation: &Operation, positions: Positions) -> bool {
        let look = |account: u8| self.statements.state(account, positions[usize::from(account)]);
        if decide(operation.ask, look).is_err() {
            return false;
        }
        let anchor = operation.ask.anchor();
        let after = self.statements.state(anchor, positions[usize::from(anchor)] + 1);
        match operation.answer {
            Answer::Done(balance) => after.is_some_and(|after| after.balance == balance),
            _ => true,
        }
    }

    /// Whether a result that changed nothing is true here.
    fn explains(&self, operation: &Operation, positions: Positions) -> bool {
        let look = |account: u8| self.statements.state(account, positions[usize::from(account)]);
        let anchor = operation.ask.anchor();
        let statement = &self.statements.all[usize::from(anchor)];
        let count = statement.first + usize::from(positions[usize::from(anchor)]);
        let lines = &statement.lines[..count.min(statement.lines.len())];
        match &operation.answer {
            Answer::Done(_) | Answer::Unheard => false,
            Answer::Balance(cents) => {
                decide(operation.ask, look).is_ok()
                    && look(anchor).is_some_and(|state| state.balance == *cents)
            }
            Answer::Page(page, more) => {
                let Ask::Statement(_, number) = operation.ask else { return false };
                page_of(anchor, lines, number) == Ok((page, *more))
            }
            Answer::No(no) => match operation.ask {
                Ask::Statement(_, number) => page_of(anchor, lines, number).as_ref() == Err(no),
                ask => decide(ask, look).as_ref() == Err(no),
            },
        }
    }
}

/// A page of a statement, and whether there is a next one; else why there is none.
pub(super) fn page_of(account: u8, lines: &[Line], number: u8) -> Result<(&[Line], bool), No> {
    let size = bank_business::PAGE_ENTRIES;
    let begin = usize::from(number - 1) * size;
    if begin >= lines.len() {
        return Err(no_page(account, lines));
    }
    let end = (begin + size).min(lines.len());
    Ok((&lines[begin..end], end < lines.len()))
}

fn no_page(account: u8, lines: &[Line]) -> No {
    match lines.len() {
        0 => No::NoSuchAccount(format!("a{account}")),
        count => No::NoSuchPage { last: count.div_ceil(bank_business::PAGE_ENTRIES) as u64 },
    }
}

/// What the bank's rules say to a call that changes or reads accounts, as these are.
pub(super) fn decide(ask: Ask, look: impl Fn(u8) -> Option<State>) -> Result<(), No> {
    let name = |account: u8| format!("a{account}");
    let usable = |account: u8| match look(account) {
        None => Err(No::NoSuchAccount(name(account))),
        Some(State { closed: true, .. }) => Err(No::Closed(name(account))),
        Some(state) => Ok(state.balance),
    };
    let funds = |account: u8, balance: u64, cents: u16| {
        let account = name(account);
        if balance < cents.into() { Err(No::Insufficient { account, balance }) } else { Ok(()) }
    };
    match ask {
        Ask::Open(account) => match look(account) {
            None => Ok(()),
            Some(_) => Err(No::NameTaken(name(account))),
        },
        Ask::Deposit(account, _) | Ask::Balance(account) => usable(account).map(|_| ()),
        Ask::Withdraw(account, cents) => funds(account, usable(account)?, cents),
        Ask::Transfer(from, to, cents) => {
            let payer = usable(from)?;
            usable(to)?;
            funds(from, payer, cents)
        }
        Ask::Close(account) => match usable(account)? {
            0 => Ok(()),
            balance => Err(No::NotEmpty { account: name(account), balance }),
        },
        Ask::Statement(..) => Ok(()),
    }
}

/// The accounts that a no speaks of.
pub(super) fn accounts_of(no: &No) -> Vec<String> {
    match no {
        No::NameTaken(name) | No::NoSuchAccount(name) | No::Closed(name) => vec![name.clone()],
        No::Insufficient { account, .. } | No::NotEmpty { account, .. } => vec![account.clone()],
        No::NoSuchPage { .. } | No::Other(_) => Vec::new(),
    }
}
