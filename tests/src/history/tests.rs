//! Histories that are known to be right or wrong, for the checkers themselves.

use bank_business::{Amount, Balance, Entry, Movement, PAGE_ENTRIES, PageNumber, StatementPage};

use super::order::{self, Statement, Statements};
use super::{
    Account, Answer, Ask, Book, Call, Ended, FIRST, History, Line, No, Operation, account_name,
    check, teller,
};

/// What two accounts with 300 cents each were at the start.
const AT_FIRST: [Line; 2] = [(FIRST, 0), (FIRST + 1, 300)];

/// A call between two moments.
fn call(number: u32, ask: Ask, [begin, end]: [u64; 2], answer: Answer) -> Operation {
    Operation { number, ask, begin, end: Some(end), answer }
}

/// Whether the statements' checker and the independent one find an order.
fn verdicts(added: [&[Line]; 2], operations: &[Operation]) -> [bool; 2] {
    let statement = |added: &[Line]| Statement {
        first: 2,
        lines: [&AT_FIRST[..], added].concat(),
        closed: false,
    };
    let statements = Statements { all: added.map(statement).to_vec() };
    let mut operations = operations.to_vec();
    operations.sort_by_key(|operation| operation.begin);
    let first = [AT_FIRST.to_vec(), AT_FIRST.to_vec()];
    [order::check(&statements, &operations).is_ok(), teller::check(&first, &operations).is_ok()]
}

const RIGHT: [bool; 2] = [true, true];
const WRONG: [bool; 2] = [false, false];

const DEPOSIT: Ask = Ask::Deposit(0, 100);
const BALANCE: Ask = Ask::Balance(0);
const TRANSFER: Ask = Ask::Transfer(0, 1, 50);

#[test]
fn what_one_bank_could_have_done_is_right() {
    let done = call(0, DEPOSIT, [1, 2], Answer::Done(400));
    let after = call(1, BALANCE, [3, 4], Answer::Balance(400));
    assert_eq!(verdicts([&[(0, 400)], &[]], &[done.clone(), after]), RIGHT);
    let slow = call(0, DEPOSIT, [1, 6], Answer::Done(400));
    let before = call(1, BALANCE, [2, 3], Answer::Balance(300));
    let then = call(2, BALANCE, [4, 5], Answer::Balance(400));
    assert_eq!(verdicts([&[(0, 400)], &[]], &[slow, before, then]), RIGHT, "in the middle");
    let unheard = Operation { end: None, answer: Answer::Unheard, ..done };
    let seen = call(1, BALANCE, [9, 10], Answer::Balance(400));
    assert_eq!(verdicts([&[(0, 400)], &[]], &[unheard, seen]), RIGHT, "nobody was told");
    let moved = call(0, TRANSFER, [1, 2], Answer::Done(250));
    let no = No::Insufficient { account: "a0".to_owned(), balance: 250 };
    let poor = call(1, Ask::Withdraw(0, 251), [3, 4], Answer::No(no));
    let payee = call(2, Ask::Balance(1), [3, 5], Answer::Balance(350));
    assert_eq!(verdicts([&[(0, 250)], &[(0, 350)]], &[moved, poor, payee]), RIGHT);
}

#[test]
fn a_lost_update_is_wrong() {
    let one = call(0, DEPOSIT, [1, 3], Answer::Done(400));
    let other = call(1, DEPOSIT, [2, 4], Answer::Done(400));
    assert_eq!(verdicts([&[(0, 400), (1, 500)], &[]], &[one, other]), WRONG);
}

#[test]
fn a_stale_read_is_wrong() {
    let done = call(0, DEPOSIT, [1, 2], Answer::Done(400));
    let stale = call(1, BALANCE, [3, 4], Answer::Balance(300));
    assert_eq!(verdicts([&[(0, 400)], &[]], &[done, stale]), WRONG);
}

#[test]
fn reads_that_go_back_in_time_are_wrong() {
    let slow = call(0, DEPOSIT, [1, 9], Answer::Done(400));
    let new = call(1, BALANCE, [2, 3], Answer::Balance(400));
    let old = call(2, BALANCE, [4, 5], Answer::Balance(300));
    assert_eq!(verdicts([&[(0, 400)], &[]], &[slow, new, old]), WRONG);
}

#[test]
fn an_order_against_real_time_is_wrong() {
    let first = call(0, DEPOSIT, [1, 2], Answer::Done(500));
    let second = call(1, DEPOSIT, [3, 4], Answer::Done(400));
    assert_eq!(verdicts([&[(1, 400), (0, 500)], &[]], &[first, second]), WRONG);
}

#[test]
fn half_a_transfer_is_wrong() {
    let slow = call(0, TRANSFER, [1, 9], Answer::Done(250));
    let payer = call(1, BALANCE, [2, 3], Answer::Balance(250));
    let payee = call(2, Ask::Balance(1), [4, 5], Answer::Balance(300));
    assert_eq!(verdicts([&[(0, 250)], &[(0, 350)]], &[slow, payer, payee]), WRONG);
}

#[test]
fn reads_that_disagree_about_what_was_finished_are_wrong() {
    let one = call(0, Ask::Deposit(0, 100), [1, 2], Answer::Done(400));
    let other = call(1, Ask::Deposit(1, 100), [1, 2], Answer::Done(400));
    let sees_only_one = [
        call(2, BALANCE, [3, 4], Answer::Balance(400)),
        call(3, Ask::Balance(1), [3, 4], Answer::Balance(300)),
    ];
    let all = [vec![one, other], sees_only_one.to_vec()].concat();
    assert_eq!(verdicts([&[(0, 400)], &[(1, 400)]], &all), WRONG);
}

#[test]
fn swapped_responses_are_wrong() {
    let one = call(0, DEPOSIT, [1, 3], Answer::Done(407));
    let other = call(1, Ask::Deposit(0, 7), [2, 4], Answer::Done(400));
    assert_eq!(verdicts([&[(0, 400), (1, 407)], &[]], &[one, other]), WRONG);
}

#[test]
fn an_error_that_rests_on_an_old_state_is_wrong() {
    let done = call(0, DEPOSIT, [1, 2], Answer::Done(400));
    let no = No::Insufficient { account: "a0".to_owned(), balance: 300 };
    let late = call(1, Ask::Withdraw(0, 350), [3, 4], Answer::No(no));
    assert_eq!(verdicts([&[(0, 400)], &[]], &[done, late]), WRONG);
}

#[test]
fn a_page_without_an_earlier_entry_is_wrong() {
    let done = call(0, DEPOSIT, [1, 2], Answer::Done(400));
    let lines = AT_FIRST.to_vec();
    let page =
        |lines: &[Line]| call(1, Ask::Statement(0, 1), [3, 4], Answer::Page(lines.to_vec(), false));
    let added = [&[(0, 400)][..], &[]];
    assert_eq!(verdicts(added, &[done.clone(), page(&lines)]), WRONG);
    let whole = [lines, vec![(0, 400)]].concat();
    assert_eq!(verdicts(added, &[done, page(&whole)]), RIGHT);
}

/// The last entry of a statement is another way to read it.
#[test]
fn last_entries_that_go_back_in_time_are_wrong() {
    let slow = call(0, DEPOSIT, [1, 9], Answer::Done(400));
    let new = call(1, Ask::Last(0), [2, 3], Answer::Last(Some(0)));
    let old = call(2, Ask::Last(0), [4, 5], Answer::Last(Some(FIRST + 1)));
    assert_eq!(verdicts([&[(0, 400)], &[]], &[slow.clone(), old.clone()]), RIGHT);
    assert_eq!(verdicts([&[(0, 400)], &[]], &[slow, new, old]), WRONG);
}

/// Thousands of calls, of which a few are under way at the same time, and one mistake at the end.
#[test]
fn long_histories_are_decided() {
    let mut operations = Vec::new();
    let (mut lines, mut balance) = (Vec::new(), 300);
    for number in 0..5_000u32 {
        let at = 10 * u64::from(number);
        balance += 1;
        lines.push((number, balance));
        let mut one = call(number, Ask::Deposit(0, 1), [at, at + 35], Answer::Done(balance));
        if number % 100 == 0 {
            one = Operation { end: None, answer: Answer::Unheard, ..one };
        }
        operations.push(one);
        let read = call(10_000 + number, BALANCE, [at + 36, at + 38], Answer::Balance(balance));
        operations.push(read);
    }
    let decides = |operations: &[Operation]| {
        let mut operations = operations.to_vec();
        operations.sort_by_key(|operation| operation.begin);
        let lines = [&AT_FIRST[..], &lines].concat();
        let one = Statement { first: 2, lines, closed: false };
        order::check(&Statements { all: vec![one] }, &operations).is_ok()
    };
    assert!(decides(&operations));
    let stale = call(20_000, BALANCE, [50_100, 50_101], Answer::Balance(balance - 5));
    operations.push(stale);
    assert!(!decides(&operations));
}

/// Two accounts, each opened with 100.00 by calls that are over before all else.
struct Scene(History);

impl Scene {
    fn new() -> Scene {
        let books = vec![None, None];
        let mut scene =
            Scene(History { first: Vec::new(), calls: Vec::new(), books, is_once: true });
        for account in [0, 1] {
            let (open, first) = (format!("open-{account}"), format!("first-{account}"));
            scene.call(&open, Ask::Open(account), [0, 1], done(&open, 0));
            scene.entry(account, &open, Movement::Opened, 0);
            scene.call(&first, Ask::Deposit(account, 10_000), [2, 3], done(&first, 10_000));
            scene.entry(account, &first, Movement::Deposit { amount: cents(10_000) }, 10_000);
        }
        scene
    }

    fn call(&mut self, call: &str, ask: Ask, [begin, end]: [u64; 2], ended: Ended) {
        let end = (!matches!(ended, Ended::Lost(_) | Ended::Crashed)).then_some(end);
        self.0.calls.push(Call { reference: call.to_owned(), ask, begin, end, ended });
    }

    fn entry(&mut self, account: Account, call: &str, movement: Movement, balance: u64) {
        let reference = call.parse().unwrap();
        let entry = Entry { reference, movement, balance: Balance::from_cents(balance).unwrap() };
        let book = &mut self.0.books[usize::from(account)];
        let mut entries = book.take().map_or_else(Vec::new, |book| book.entries);
        entries.push(entry);
        *book = Book::of(entries);
    }

    fn withdrawal(&mut self, call: &str, at: [u64; 2], balance: u64) {
        self.call(call, Ask::Withdraw(0, 100), at, done(call, balance));
        self.entry(0, call, Movement::Withdrawal { amount: cents(100) }, balance);
    }

    /// Both legs of a transfer of 50 cents, so often.
    fn transfer(&mut self, call: &str, times: u64) {
        for time in 1..=times {
            let (to, from, amount) = (account_name(1), account_name(0), cents(50));
            self.entry(0, call, Movement::TransferOut { to, amount }, 10_000 - 50 * time);
            self.entry(1, call, Movement::TransferIn { from, amount }, 10_000 + 50 * time);
        }
    }

    fn deposits(&mut self, count: u64) {
        for number in 0..count {
            let (call, balance) = (format!("d{number}"), 10_001 + number);
            let at = [10 + 10 * number, 15 + 10 * number];
            self.call(&call, Ask::Deposit(0, 1), at, done(&call, balance));
            self.entry(0, &call, Movement::Deposit { amount: cents(1) }, balance);
        }
    }

    /// The rule that is broken.
    fn rule(&self) -> Option<&'static str> {
        check(&self.0).err().map(|(rule, _)| rule)
    }
}

fn cents(cents: u64) -> Amount {
    Amount::from_cents(cents).unwrap()
}

fn done(call: &str, balance: u64) -> Ended {
    Ended::Done { reference: call.to_owned(), balance }
}

fn last(call: &str) -> Ended {
    Ended::Last(Some(call.to_owned()))
}

fn unknown() -> Ended {
    Ended::Lost(String::new())
}

const ONCE: Option<&str> = Some("each acknowledged call takes effect once");
const NEVER: Option<&str> = Some("a call that was not executed never is");
const UNKNOWN: Option<&str> = Some("an unknown call takes effect at most once");
const WHOLE: Option<&str> = Some("a call takes effect on all its accounts or on none");
const CHAIN: Option<&str> = Some("money is conserved");
const OWN: Option<&str> = Some("a response reaches only its own call");
const SEEN: Option<&str> = Some("what was read is not lost");
const ORDER: Option<&str> = Some("one order of all calls explains every result");

#[test]
fn what_is_right_is_right() {
    let mut scene = Scene::new();
    scene.withdrawal("a", [10, 20], 9_900);
    scene.withdrawal("b", [15, 30], 9_800);
    scene.call("r", Ask::Last(0), [12, 40], last("a"));
    scene.call("lost", Ask::Withdraw(1, 5), [12, 40], unknown());
    scene.call("not", Ask::Transfer(0, 1, 1), [12, 40], Ended::NotExecuted(String::new()));
    let no = No::Insufficient { account: "a1".to_owned(), balance: 10_000 };
    scene.call("no", Ask::Withdraw(1, 10_001), [12, 40], Ended::No(no));
    assert_eq!(check(&scene.0), Ok(()));
}

#[test]
fn a_call_that_stands_twice_is_seen() {
    for (ended, rule) in [(done("a", 9_900), ONCE), (unknown(), UNKNOWN)] {
        let mut scene = Scene::new();
        scene.call("a", Ask::Withdraw(0, 100), [10, 20], ended);
        scene.entry(0, "a", Movement::Withdrawal { amount: cents(100) }, 9_900);
        scene.entry(0, "a", Movement::Withdrawal { amount: cents(100) }, 9_800);
        assert_eq!(scene.rule(), rule);
    }
}

#[test]
fn a_lost_and_an_unexpected_call_are_seen() {
    let mut scene = Scene::new();
    scene.call("lost", Ask::Withdraw(0, 100), [10, 20], done("lost", 9_900));
    assert_eq!(scene.rule(), ONCE);
    let no = No::Insufficient { account: "a1".to_owned(), balance: 0 };
    for ended in [Ended::NotExecuted(String::new()), Ended::No(no)] {
        let mut scene = Scene::new();
        scene.call("no", Ask::Withdraw(1, 100), [10, 20], ended);
        scene.entry(1, "no", Movement::Withdrawal { amount: cents(100) }, 9_900);
        assert_eq!(scene.rule(), NEVER);
    }
}

#[test]
fn a_doubled_transfer_is_seen() {
    let twice = |ended: Ended, times: u64| {
        let mut scene = Scene::new();
        scene.call("t", Ask::Transfer(0, 1, 50), [10, 20], ended);
        scene.transfer("t", times);
        scene.rule()
    };
    assert_eq!([0, 1, 2].map(|times| twice(done("t", 9_950), times)), [ONCE, None, ONCE]);
    assert_eq!([0, 1, 2].map(|times| twice(unknown(), times)), [None, None, UNKNOWN]);
    assert_eq!([0, 1, 2].map(|times| twice(Ended::Crashed, times)), [None, None, UNKNOWN]);
    let not_executed = || Ended::NotExecuted(String::new());
    assert_eq!([0, 1, 2].map(|times| twice(not_executed(), times)), [None, NEVER, NEVER]);
}

#[test]
fn one_leg_only_is_seen() {
    for ended in [unknown(), done("half", 9_900)] {
        let mut scene = Scene::new();
        scene.call("half", Ask::Transfer(0, 1, 100), [10, 20], ended);
        let to = account_name(1);
        scene.entry(0, "half", Movement::TransferOut { to, amount: cents(100) }, 9_900);
        assert_eq!(scene.rule(), WHOLE);
    }
}

#[test]
fn money_that_is_made_is_seen() {
    let mut scene = Scene::new();
    scene.call("a", Ask::Withdraw(0, 100), [10, 20], done("a", 9_910));
    scene.entry(0, "a", Movement::Withdrawal { amount: cents(100) }, 9_910);
    assert_eq!(scene.rule(), CHAIN);
    let mut scene = Scene::new();
    scene.0.books[0].as_mut().unwrap().balance = 10_001;
    assert_eq!(scene.rule(), CHAIN, "the account does not hold what its statement says");
}

#[test]
fn what_was_there_at_the_start_must_stay() {
    let mut scene = Scene::new();
    let entries = |book: &Option<Book>| book.as_ref().unwrap().entries.clone();
    let first: Vec<Vec<Entry>> = scene.0.books.iter().map(entries).collect();
    scene.0.first = first;
    scene.0.calls.clear();
    assert_eq!(scene.rule(), None);
    let mut changed = Scene(scene.0.clone());
    changed.0.books[1] = Book::of(entries(&changed.0.books[1])[..1].to_vec());
    assert_eq!(changed.rule(), CHAIN);
    scene.0.books[1] = None;
    assert_eq!(scene.rule(), CHAIN, "it is gone");
}

#[test]
fn an_entry_that_nobody_asked_for_is_seen() {
    let mut scene = Scene::new();
    scene.call("a", Ask::Withdraw(0, 100), [10, 20], unknown());
    scene.entry(0, "a", Movement::Withdrawal { amount: cents(200) }, 9_800);
    assert_eq!(scene.rule(), OWN);
    let mut scene = Scene::new();
    scene.entry(0, "x", Movement::Withdrawal { amount: cents(200) }, 9_800);
    assert_eq!(scene.rule(), ONCE);
}

#[test]
fn answers_of_others_are_seen() {
    let mut scene = Scene::new();
    scene.withdrawal("a", [10, 20], 9_900);
    scene.0.calls.last_mut().unwrap().ended = done("b", 9_900);
    assert_eq!(scene.rule(), OWN, "a receipt");
    scene.0.calls.last_mut().unwrap().ended = done("a", 9_901);
    assert_eq!(scene.rule(), OWN, "a balance");
    let mut scene = Scene::new();
    let no = No::Insufficient { account: "a1".to_owned(), balance: 10_000 };
    scene.call("no", Ask::Withdraw(0, 20_000), [10, 20], Ended::No(no));
    assert_eq!(scene.rule(), OWN, "an error");
    let mut scene = Scene::new();
    let entries = scene.0.books[1].as_ref().unwrap().entries.clone();
    let page = StatementPage { page: PageNumber::FIRST, entries, next: None };
    scene.call("s", Ask::Statement(0, 1), [10, 20], Ended::Page(page));
    assert_eq!(scene.rule(), OWN, "a page");
}

#[test]
fn an_order_against_time_is_seen() {
    let mut scene = Scene::new();
    scene.call("late", Ask::Withdraw(0, 100), [30, 40], done("late", 9_900));
    scene.entry(0, "late", Movement::Withdrawal { amount: cents(100) }, 9_900);
    scene.withdrawal("early", [10, 20], 9_800);
    assert_eq!(scene.rule(), ORDER);
}

#[test]
fn a_write_that_was_read_and_lost_is_seen() {
    let mut scene = Scene::new();
    scene.call("lost", Ask::Withdraw(0, 100), [10, 20], unknown());
    scene.call("r", Ask::Last(0), [30, 40], last("lost"));
    assert_eq!(scene.rule(), SEEN);
}

#[test]
fn a_stale_last_entry_is_seen() {
    let mut scene = Scene::new();
    scene.withdrawal("a", [10, 20], 9_900);
    scene.call("r", Ask::Last(0), [30, 40], last("first-0"));
    assert_eq!(scene.rule(), ORDER);
}

#[test]
fn a_refusal_that_no_state_explains_is_seen() {
    let mut scene = Scene::new();
    scene.deposits(PAGE_ENTRIES as u64);
    let no = No::Insufficient { account: "a0".to_owned(), balance: 9_000 };
    scene.call("no", Ask::Withdraw(0, 20_000), [12, 40], Ended::No(no));
    assert_eq!(scene.rule(), ORDER);
}

/// Each read sees the other account's write and misses its own: no order has both.
#[test]
fn two_reads_that_contradict_each_other_are_seen() {
    let mut scene = Scene::new();
    for (account, call) in [(0, "x"), (1, "y")] {
        scene.call(call, Ask::Withdraw(account, 100), [10, 90], done(call, 9_900));
        scene.entry(account, call, Movement::Withdrawal { amount: cents(100) }, 9_900);
    }
    scene.call("sees-x", Ask::Last(0), [11, 12], last("x"));
    scene.call("misses-y", Ask::Last(1), [13, 14], last("first-1"));
    assert_eq!(scene.rule(), None, "y may come later");
    scene.call("sees-y", Ask::Last(1), [11, 12], last("y"));
    assert_eq!(scene.rule(), ORDER);
}

/// Beyond the margin of leases, once is not promised; all else is.
#[test]
fn where_clocks_do_not_keep_to_the_margin_twice_is_no_violation() {
    let mut scene = Scene::new();
    scene.withdrawal("a", [10, 20], 9_900);
    scene.entry(0, "a", Movement::Withdrawal { amount: cents(100) }, 9_800);
    assert_eq!(scene.rule(), ONCE);
    scene.0.is_once = false;
    assert_eq!(scene.rule(), None);
}
