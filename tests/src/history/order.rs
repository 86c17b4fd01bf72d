//! There is one order of all calls that explains every result: strict serializability.
//!
//! The statements say in which order the writes of an account took effect. So a state of the bank
//! is a position in each statement, and what is searched for is a way from the first to the last,
//! taking each call at a position where its result is true, and no call before one that had ended
//! when it was made. The search is complete: if it finds no way, there is none.
//!
//! It is also fast, even for thousands of calls: only the few that are under way at the same time are
//! ever to be chosen from, and of these the statements name the next.

use foldhash::HashSet;

use super::{Account, Answer, Ask, Broken, History, Line, Names, No, Operation};

const RULE: &str = "one order of all calls explains every result";

/// The statements of all accounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Statements {
    pub(super) all: Vec<Statement>,
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

/// How many calls of each statement have taken effect.
type Positions = Vec<u32>;

/// Which calls have found their place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Done {
    /// All of the first ones.
    below: usize,
    /// Those above, as bits.
    above: Vec<u64>,
    count: usize,
}

impl Done {
    fn has(&self, index: usize) -> bool {
        let Some(bit) = index.checked_sub(self.below) else { return true };
        self.above.get(bit / 64).is_some_and(|word| word & 1 << (bit % 64) != 0)
    }

    fn insert(&mut self, index: usize) {
        let bit = index - self.below;
        if self.above.len() <= bit / 64 {
            self.above.resize(bit / 64 + 1, 0);
        }
        self.above[bit / 64] |= 1 << (bit % 64);
        self.count += 1;
        while self.above.first() == Some(&u64::MAX) {
            self.above.remove(0);
            self.below += 64;
        }
        while self.above.last() == Some(&0) {
            self.above.pop();
        }
    }
}

impl Statements {
    pub(super) fn of(history: &History, names: &Names<'_>) -> Statements {
        let statement = |account: usize| {
            let first = history.first.get(account).map_or(0, Vec::len);
            match history.books.get(account).and_then(Option::as_ref) {
                None => Statement { first, ..Statement::default() },
                Some(book) => Statement {
                    first,
                    lines: book.entries.iter().map(|entry| names.line(entry)).collect(),
                    closed: book.closed,
                },
            }
        };
        let asked =
            history.calls.iter().flat_map(|call| [Some(call.ask.anchor()), call.ask.payee()]);
        let asked = asked.flatten().max().map_or(0, |most| usize::from(most) + 1);
        let accounts = history.books.len().max(asked);
        Statements { all: (0..accounts).map(statement).collect() }
    }

    /// What an account is once this many calls have taken effect on it.
    fn state(&self, account: Account, position: u32) -> Option<State> {
        let statement = &self.all[usize::from(account)];
        let count = statement.first + position as usize;
        let (_, balance) = *statement.lines.get(count.checked_sub(1)?)?;
        let closed = statement.closed && count == statement.lines.len();
        Some(State { balance, closed })
    }

    fn next(&self, account: Account, position: u32) -> Option<u32> {
        let statement = &self.all[usize::from(account)];
        statement.lines.get(statement.first + position as usize).map(|(number, _)| *number)
    }
}

/// Searches for an order. `operations`: by their beginnings.
pub(super) fn check(statements: &Statements, operations: &[Operation]) -> Result<(), Broken> {
    let mut search =
        Search { statements, operations, seen: HashSet::default(), farthest: Done::default() };
    if search.finds_a_way() {
        return Ok(());
    }
    let farthest = search.farthest;
    // What is under way where every way ends; all that comes later would only hide it.
    let open = (0..operations.len()).filter(|index| !farthest.has(*index)).take(MOST_NAMED);
    let open: Vec<String> = open.map(|index| format!("{:?}", operations[index])).collect();
    Err((RULE, format!("no order for {}", open.join("; "))))
}

/// Calls that are named where no order was found.
const MOST_NAMED: usize = 12;

struct Search<'a> {
    statements: &'a Statements,
    operations: &'a [Operation],
    /// Where no way goes on from, or one is being tried.
    seen: HashSet<(Positions, Done)>,
    /// The most calls that any way has come past.
    farthest: Done,
}

/// A place on the way, with the writes that may come next there.
struct Place {
    positions: Positions,
    done: Done,
    next: Vec<usize>,
}

impl Search<'_> {
    fn finds_a_way(&mut self) -> bool {
        let start = vec![0; self.statements.all.len()];
        let mut way: Vec<Place> = self.reach(start, Done::default()).into_iter().collect();
        while let Some(place) = way.last_mut() {
            if place.done.count == self.operations.len() {
                return true;
            }
            let Some(index) = place.next.pop() else {
                way.pop();
                continue;
            };
            let (mut positions, mut done) = (place.positions.clone(), place.done.clone());
            let changes = self.operations[index].ask.changes();
            changes.for_each(|account| positions[usize::from(account)] += 1);
            done.insert(index);
            way.extend(self.reach(positions, done));
        }
        false
    }

    /// Gets to a place. `None`: no way goes on from there.
    fn reach(&mut self, positions: Positions, mut done: Done) -> Option<Place> {
        // What only looks changes nothing: if it can be taken now, it may as well be.
        let mut open = self.open(&done);
        loop {
            let looks = open.iter().filter(|index| self.explains(**index, &positions));
            let looks: Vec<usize> = looks.copied().collect();
            if looks.is_empty() {
                break;
            }
            looks.into_iter().for_each(|index| done.insert(index));
            open = self.open(&done);
        }
        if done.count > self.farthest.count {
            self.farthest = done.clone();
        }
        if !self.seen.insert((positions.clone(), done.clone())) {
            return None;
        }
        open.retain(|index| self.may_write(*index, &positions));
        // The oldest is the last, which is tried first.
        open.reverse();
        Some(Place { positions, done, next: open })
    }

    /// The calls that may come next: none that began after the end of another one.
    fn open(&self, done: &Done) -> Vec<usize> {
        let mut open = Vec::new();
        let mut first_end = u64::MAX;
        for (index, operation) in self.operations.iter().enumerate().skip(done.below) {
            if operation.begin > first_end {
                break;
            }
            if !done.has(index) {
                open.push(index);
                first_end = first_end.min(operation.end.unwrap_or(u64::MAX));
            }
        }
        open.retain(|index| self.operations[*index].begin <= first_end);
        open
    }

    fn may_write(&self, index: usize, positions: &Positions) -> bool {
        let operation = &self.operations[index];
        let at = |account: Account| positions[usize::from(account)];
        let is_next =
            |account| self.statements.next(account, at(account)) == Some(operation.number);
        let is_write = matches!(operation.answer, Answer::Done(_) | Answer::Unheard);
        if !is_write || !operation.ask.changes().all(is_next) {
            return false;
        }
        let look = |account: Account| self.statements.state(account, at(account));
        if decide(operation.ask, look).is_err() {
            return false;
        }
        let anchor = operation.ask.anchor();
        let after = self.statements.state(anchor, at(anchor) + 1);
        match operation.answer {
            Answer::Done(balance) => after.is_some_and(|after| after.balance == balance),
            _ => true,
        }
    }

    /// Whether a result that changed nothing is true here.
    fn explains(&self, index: usize, positions: &Positions) -> bool {
        let operation = &self.operations[index];
        let look =
            |account: Account| self.statements.state(account, positions[usize::from(account)]);
        let anchor = operation.ask.anchor();
        let statement = &self.statements.all[usize::from(anchor)];
        let count = statement.first + positions[usize::from(anchor)] as usize;
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
            Answer::Last(last) => lines.last().map(|(number, _)| *number) == *last,
            Answer::No(no) => match operation.ask {
                Ask::Statement(_, number) => page_of(anchor, lines, number).as_ref() == Err(no),
                ask => decide(ask, look).as_ref() == Err(no),
            },
        }
    }
}

/// A page of a statement, and whether there is a next one; else why there is none.
pub(super) fn page_of(account: Account, lines: &[Line], number: u8) -> Result<(&[Line], bool), No> {
    let size = bank_business::PAGE_ENTRIES;
    let begin = usize::from(number - 1) * size;
    if begin >= lines.len() {
        return Err(no_page(account, lines));
    }
    let end = (begin + size).min(lines.len());
    Ok((&lines[begin..end], end < lines.len()))
}

fn no_page(account: Account, lines: &[Line]) -> No {
    match lines.len() {
        0 => No::NoSuchAccount(format!("a{account}")),
        count => No::NoSuchPage { last: count.div_ceil(bank_business::PAGE_ENTRIES) as u64 },
    }
}

/// What the bank's rules say to a call that changes or reads accounts, as these are.
pub(super) fn decide(ask: Ask, look: impl Fn(Account) -> Option<State>) -> Result<(), No> {
    let name = |account: Account| format!("a{account}");
    let usable = |account: Account| match look(account) {
        None => Err(No::NoSuchAccount(name(account))),
        Some(State { closed: true, .. }) => Err(No::Closed(name(account))),
        Some(state) => Ok(state.balance),
    };
    let funds = |account: Account, balance: u64, cents: u16| {
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
        Ask::Statement(..) | Ask::Last(_) => Ok(()),
    }
}
