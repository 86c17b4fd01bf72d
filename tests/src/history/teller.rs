//! The bank as a sequential object, and a checker from elsewhere that searches for an order of the
//! calls without a look at the statements.

use std::sync::Arc;

use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

use super::order::{State, decide, page_of};
use super::{Account, Answer, Ask, Broken, Line, Operation};

const RULE: &str = "the bank is linearizable";

/// From here on its search takes too long: it knows nothing of the statements, and tries all orders.
pub(super) const MOST_OPERATIONS: usize = 10;

/// The bank that does one call after the other.
#[derive(Clone, Debug)]
struct Teller {
    /// By account: what was there at the start.
    first: Arc<Vec<Vec<Line>>>,
    accounts: Vec<Changed>,
}

/// What has come to an account since.
#[derive(Clone, Debug, Default)]
struct Changed {
    lines: Vec<Line>,
    closed: bool,
}

impl Teller {
    fn new(first: &[Vec<Line>], operations: &[Operation]) -> Teller {
        let asked = operations
            .iter()
            .flat_map(|operation| [Some(operation.ask.anchor()), operation.ask.payee()]);
        let accounts = asked.flatten().max().map_or(0, |most| usize::from(most) + 1);
        let mut first = first.to_vec();
        first.resize_with(accounts.max(first.len()), Vec::new);
        let accounts = vec![Changed::default(); first.len()];
        Teller { first: Arc::new(first), accounts }
    }

    fn look(&self, account: Account) -> Option<State> {
        let account = usize::from(account);
        let Changed { lines, closed } = &self.accounts[account];
        let (_, balance) = *lines.last().or_else(|| self.first[account].last())?;
        Some(State { balance, closed: *closed })
    }

    fn lines(&self, account: Account) -> Vec<Line> {
        let account = usize::from(account);
        [&self.first[account][..], &self.accounts[account].lines].concat()
    }

    fn post(&mut self, account: Account, number: u32, change: i64) -> u64 {
        let before = self.look(account).map_or(0, |state| state.balance);
        let balance = before.checked_add_signed(change).expect("decided before");
        self.accounts[usize::from(account)].lines.push((number, balance));
        balance
    }
}

impl SequentialSpec for Teller {
    type Op = (u32, Ask);
    type Ret = Answer;

    fn invoke(&mut self, (number, ask): &(u32, Ask)) -> Answer {
        if let Ask::Statement(account, page) = *ask {
            return match page_of(account, &self.lines(account), page) {
                Ok((lines, more)) => Answer::Page(lines.to_vec(), more),
                Err(no) => Answer::No(no),
            };
        }
        if let Err(no) = decide(*ask, |account| self.look(account)) {
            return Answer::No(no);
        }
        let number = *number;
        match *ask {
            Ask::Balance(account) => {
                Answer::Balance(self.look(account).map_or(0, |state| state.balance))
            }
            Ask::Last(account) => {
                Answer::Last(self.lines(account).last().map(|(number, _)| *number))
            }
            Ask::Open(account) => Answer::Done(self.post(account, number, 0)),
            Ask::Deposit(account, cents) => Answer::Done(self.post(account, number, cents.into())),
            Ask::Withdraw(account, cents) => {
                Answer::Done(self.post(account, number, -i64::from(cents)))
            }
            Ask::Transfer(from, to, cents) => {
                self.post(to, number, cents.into());
                Answer::Done(self.post(from, number, -i64::from(cents)))
            }
            Ask::Close(account) => {
                self.accounts[usize::from(account)].closed = true;
                Answer::Done(self.post(account, number, 0))
            }
            Ask::Statement(..) => unreachable!("answered above"),
        }
    }
}

/// Searches for an order of the calls. `first`: the lines that were there at the start, by account.
pub(super) fn check(first: &[Vec<Line>], operations: &[Operation]) -> Result<(), Broken> {
    let mut tester = LinearizabilityTester::new(Teller::new(first, operations));
    let mut moments: Vec<(u64, bool, &Operation)> = Vec::new();
    for operation in operations {
        moments.push((operation.begin, false, operation));
        moments.extend(operation.end.map(|at| (at, true, operation)));
    }
    moments.sort_by_key(|(at, is_end, _)| (*at, *is_end));
    // The tester takes the calls of a thread one after the other. Calls that do not overlap may share
    // a thread: it puts them in the same order anyway, and has fewer threads to try.
    let mut threads: Vec<Option<u32>> = Vec::new();
    for (_, is_end, Operation { number, ask, answer, .. }) in moments {
        let wanted = is_end.then_some(*number);
        let thread = threads.iter().position(|holds| *holds == wanted).unwrap_or(threads.len());
        if thread == threads.len() {
            threads.push(None);
        }
        threads[thread] = (!is_end).then_some(*number);
        let told = if is_end {
            tester.on_return(thread, answer.clone()).map(|_| ())
        } else {
            tester.on_invoke(thread, (*number, *ask)).map(|_| ())
        };
        told.map_err(|error| (RULE, error))?;
    }
    if tester.is_consistent() {
        return Ok(());
    }
    Err((RULE, format!("no order for {operations:?}")))
}
