//! The bank as a sequential object, and a checker from elsewhere that searches for an order of the
//! calls without a look at the statements.

use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

use super::super::bank::first_entries;
use super::super::plan::{ACCOUNTS, Ask, Plan};
use super::lists::line;
use super::order::{State, decide, page_of};
use super::{Answer, Broken, Line, Operation};

const RULE: &str = "the bank is linearizable";

/// From here on its search takes too long: it knows nothing of the statements, and tries all orders.
pub(super) const MOST_OPERATIONS: usize = 10;

/// The bank that does one call after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Teller {
    accounts: [Account; ACCOUNTS as usize],
}

#[derive(Clone, Debug, Default)]
struct Account {
    lines: Vec<Line>,
    closed: bool,
}

impl Teller {
    pub(super) fn new(plan: &Plan) -> Teller {
        let mut teller = Teller::default();
        for (account, count) in teller.accounts.iter_mut().zip(&plan.accounts) {
            account.lines = first_entries(*count).iter().map(line).collect();
        }
        teller
    }

    fn look(&self, account: u8) -> Option<State> {
        let account = &self.accounts[usize::from(account)];
        let (_, balance) = *account.lines.last()?;
        Some(State { balance, closed: account.closed })
    }

    fn post(&mut self, account: u8, number: u8, change: i64) -> u64 {
        let before = self.look(account).map_or(0, |state| state.balance);
        let balance = before.checked_add_signed(change).expect("decided before");
        self.accounts[usize::from(account)].lines.push((number.into(), balance));
        balance
    }
}

impl SequentialSpec for Teller {
    type Op = (u8, Ask);
    type Ret = Answer;

    fn invoke(&mut self, (number, ask): &(u8, Ask)) -> Answer {
        if let Ask::Statement(account, page) = *ask {
            let lines = &self.accounts[usize::from(account)].lines;
            return match page_of(account, lines, page) {
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

/// Searches for an order of the calls.
pub(super) fn check(plan: &Plan, operations: &[Operation]) -> Result<(), Broken> {
    let mut tester = LinearizabilityTester::new(Teller::new(plan));
    let mut moments: Vec<(u64, &Operation, bool)> = Vec::new();
    for operation in operations {
        moments.push((operation.invoked, operation, true));
        moments.extend(operation.returned.map(|at| (at, operation, false)));
    }
    moments.sort_unstable_by_key(|(at, ..)| *at);
    // The tester takes the calls of a thread one after the other. Calls that do not overlap may share
    // a thread: it puts them in the same order anyway, and has fewer threads to try.
    let mut threads: Vec<Option<u8>> = Vec::new();
    for (_, operation, is_invocation) in moments {
        let number = operation.number;
        let wanted = if is_invocation { None } else { Some(number) };
        let thread = threads.iter().position(|holds| *holds == wanted).unwrap_or(threads.len());
        if thread == threads.len() {
            threads.push(None);
        }
        threads[thread] = is_invocation.then_some(number);
        let told = if is_invocation {
            tester.on_invoke(thread, (number, operation.ask)).map(|_| ())
        } else {
            tester.on_return(thread, operation.answer.clone()).map(|_| ())
        };
        told.map_err(|error| (RULE, error))?;
    }
    if tester.is_consistent() {
        return Ok(());
    }
    Err((RULE, format!("no order for {operations:?}")))
}
