//! Histories that are known to be right or wrong, for the checkers themselves.

use bank_business::{Amount, Balance, Entry, Movement};

use super::super::bank::{account_name, first_entries};
use super::super::books::Book;
use super::super::calls::{Calls, Ended, Made, No, reference};
use super::super::plan::{Ask, CallPlan, ClientPlan, ComesBack, Plan};
use super::order::{self, Statements};
use super::{Answer, Line, Operation, Seen, lists, teller};

/// Two accounts with 300 cents each, and one client with these calls.
fn plan(asks: &[Ask]) -> Plan {
    let call = |ask: &Ask| CallPlan {
        at_ms: 0,
        ask: *ask,
        deadline_ms: 1_000,
        hedge_ms: 0,
        drop_ms: 0,
        work_ms: [0, 0],
    };
    let calls = asks.iter().map(call).collect();
    let client = ClientPlan { calls, comes_back: ComesBack::Never, closes: true, knows: 1 };
    Plan { accounts: vec![2, 2], clients: vec![client], skew_ms: Vec::new(), ..Plan::of(0) }
}

/// A call between two moments.
fn call(number: u8, ask: Ask, [invoked, returned]: [u64; 2], answer: Answer) -> Operation {
    Operation { number, ask, invoked, returned: Some(returned), answer }
}

/// Whether the statements' checker and the independent one find an order.
fn verdicts(added: [&[Line]; 2], operations: &[Operation]) -> [bool; 2] {
    let mut statements = Statements::default();
    for (statement, added) in statements.all.iter_mut().zip(added) {
        statement.first = 2;
        statement.lines = first_entries(2).iter().map(lists::line).chain(added.to_vec()).collect();
    }
    let asks: Vec<Ask> = operations.iter().map(|operation| operation.ask).collect();
    [order::check(&statements, operations).is_ok(), teller::check(&plan(&asks), operations).is_ok()]
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
    let unheard = Operation { returned: None, answer: Answer::Unheard, ..done };
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
    let lines: Vec<Line> = first_entries(2).iter().map(lists::line).collect();
    let page =
        |lines: &[Line]| call(1, Ask::Statement(0, 1), [3, 4], Answer::Page(lines.to_vec(), false));
    let added = [&[(0, 400)][..], &[]];
    assert_eq!(verdicts(added, &[done.clone(), page(&lines)]), WRONG);
    let whole = [lines, vec![(0, 400)]].concat();
    assert_eq!(verdicts(added, &[done, page(&whole)]), RIGHT);
}

/// The verdict of the lists on one transfer of 50 cents that ended so, with these entries.
fn lists_say(ended: Ended, out: &[u64], into: &[u64]) -> Result<(), &'static str> {
    let plan = plan(&[TRANSFER]);
    let mut calls: Vec<Made> = Calls::new(&plan).all;
    calls[0].ended = Some(ended);
    let amount = Amount::from_cents(50).unwrap();
    let book = |movement: Movement, balances: &[u64]| {
        let entry = |cents: &u64| Entry {
            reference: reference(0).parse().unwrap(),
            movement: movement.clone(),
            balance: Balance::from_cents(*cents).unwrap(),
        };
        let entries: Vec<Entry> =
            first_entries(2).into_iter().chain(balances.iter().map(entry)).collect();
        let balance = entries.last().unwrap().balance.cents();
        Some(Book { balance, closed: false, entries })
    };
    let books = [
        book(Movement::TransferOut { to: account_name(1), amount }, out),
        book(Movement::TransferIn { from: account_name(0), amount }, into),
        None,
        None,
    ];
    let seen = Seen { plan: &plan, calls: &calls, books: &books, log: &[] };
    lists::check(&seen).map(|_| ()).map_err(|(rule, _)| rule)
}

#[test]
fn the_lists_tell_once_from_never_and_twice() {
    let done = |number: u8| Ended::Done { reference: reference(number), balance: 250 };
    assert_eq!(lists_say(done(0), &[250], &[350]), Ok(()));
    assert_eq!(lists_say(Ended::Crashed, &[250], &[350]), Ok(()));
    assert_eq!(lists_say(Ended::Crashed, &[], &[]), Ok(()));
    let not_executed = || Ended::NotExecuted(String::new());
    assert_eq!(lists_say(not_executed(), &[], &[]), Ok(()));
    let rule = |ended: Ended, out: &[u64], into: &[u64]| lists_say(ended, out, into).unwrap_err();
    assert_eq!(rule(done(0), &[], &[]), "each acknowledged call takes effect once", "lost");
    let twice = rule(done(0), &[250, 200], &[350, 400]);
    assert_eq!(twice, "each acknowledged call takes effect once", "a doubled transfer");
    let unknown = rule(Ended::Crashed, &[250, 200], &[350, 400]);
    assert_eq!(unknown, "an unknown call takes effect at most once");
    let never = rule(not_executed(), &[250], &[350]);
    assert_eq!(never, "a call that was not executed never is");
    let one_leg = rule(done(0), &[250], &[]);
    assert_eq!(one_leg, "a call takes effect on all its accounts or on none");
    assert_eq!(rule(done(0), &[250], &[360]), "money is conserved", "money is made");
    let swapped = rule(done(1), &[250], &[350]);
    assert_eq!(swapped, "a response reaches only its own call");
}
