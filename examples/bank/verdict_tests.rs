//! Wrong histories, each of which the verdict must catch. All begin with one that is right.

use bank_business::{Amount, Balance, Movement, Receipt};

use super::*;
use crate::history::Order;

fn name(name: &str) -> AccountName {
    name.parse().unwrap()
}

fn reference(reference: &str) -> Reference {
    reference.parse().unwrap()
}

fn cents(cents: u64) -> Amount {
    Amount::from_cents(cents).unwrap()
}

/// A bank of two accounts that does what it is asked, and takes down the history.
#[derive(Default)]
struct Run {
    history: Vec<Record>,
    statements: Statements,
}

impl Run {
    /// Does what is asked, and acknowledges it.
    fn done(&mut self, called: &str, order: Order) {
        let mut receipt = None;
        for (account, movement) in order.legs() {
            let statement = self.statements.entry(account.clone()).or_default();
            let balance = i128::from(statement.balance.cents()) + i128::from(movement.change());
            let balance = Balance::from_cents(u64::try_from(balance).unwrap()).unwrap();
            statement.entries.push(Entry { reference: reference(called), movement, balance });
            statement.balance = balance;
            receipt.get_or_insert(Receipt { reference: reference(called), balance });
        }
        self.told(called, order, Ending::Acknowledged(receipt.unwrap()));
    }

    /// Tells the caller this, and does nothing.
    fn told(&mut self, called: &str, order: Order, ending: Ending) {
        let began = Duration::from_secs(10 * self.history.len() as u64);
        let ended = began + Duration::from_secs(5);
        let reference = reference(called);
        self.history.push(Record { reference, order, began, ended, asked_again: 0, ending });
    }

    fn statement(&mut self, account: &str) -> &mut Statement {
        self.statements.get_mut(&name(account)).unwrap()
    }

    /// Executes this once more behind everyone's back.
    fn again(&mut self, account: &str, called: &str, movement: Movement) {
        let statement = self.statement(account);
        let balance = i128::from(statement.balance.cents()) + i128::from(movement.change());
        let balance = Balance::from_cents(u64::try_from(balance).unwrap()).unwrap();
        statement.entries.push(Entry { reference: reference(called), movement, balance });
        statement.balance = balance;
    }

    /// Makes it that this was never executed on this account, nor seen by a later receipt.
    fn undo(&mut self, account: &str, called: &str) {
        let statement = self.statements.get_mut(&name(account)).unwrap();
        statement.entries.retain(|entry| entry.reference != reference(called));
        let mut sum = 0;
        for entry in &mut statement.entries {
            sum += entry.movement.change();
            entry.balance = Balance::from_cents(u64::try_from(sum).unwrap()).unwrap();
        }
        statement.balance = Balance::from_cents(u64::try_from(sum).unwrap()).unwrap();
        for record in &mut self.history {
            let payer = record.order.legs()[0].0 == &name(account);
            let entry = statement.entries.iter().find(|entry| entry.reference == record.reference);
            if let (true, Some(entry), Ending::Acknowledged(receipt)) =
                (payer, entry, &mut record.ending)
            {
                receipt.balance = entry.balance;
            }
        }
    }

    fn wrong(&self) -> Vec<Wrong> {
        judge(&self.history, &self.statements).wrong
    }
}

fn deposit(account: &str, amount: u64) -> Order {
    Order::Deposit { name: name(account), amount: cents(amount) }
}

fn transfer(from: &str, to: &str, amount: u64) -> Order {
    Order::Transfer { from: name(from), to: name(to), amount: cents(amount) }
}

/// Two accounts with 1000 and 500, then `t1`, the transfer of 300 that the tests spoil, then one
/// call of each other ending.
fn right() -> Run {
    let mut run = Run::default();
    run.done("open-a", Order::Open { name: name("a") });
    run.done("open-b", Order::Open { name: name("b") });
    run.done("in-a", deposit("a", 1000));
    run.done("in-b", deposit("b", 500));
    run.done("t1", transfer("a", "b", 300));
    run.done("out-b", Order::Withdraw { name: name("b"), amount: cents(50) });
    run.told("poor", transfer("a", "b", 9000), Ending::Refused("holds less".into()));
    run.told("never", transfer("a", "b", 1), Ending::NotExecuted("no server".into()));
    run
}

#[test]
fn a_right_history_is_right() {
    let verdict = judge(&right().history, &right().statements);
    assert_eq!(verdict.wrong, []);
    assert!(verdict.is_right());
    assert_eq!((verdict.movements, verdict.accounts, verdict.entries), (8, 2, 7));
    assert_eq!(verdict.money, 1450);
}

#[test]
fn a_doubled_transfer_is_caught_though_the_total_is_right() {
    let mut run = right();
    run.again("a", "t1", Movement::TransferOut { to: name("b"), amount: cents(300) });
    run.again("b", "t1", Movement::TransferIn { from: name("a"), amount: cents(300) });
    let doubled =
        |account| Wrong::Doubled { reference: reference("t1"), account: name(account), times: 2 };
    // The second one also stands behind what was asked for after the first was over.
    let late = Wrong::OutOfOrder {
        account: name("b"),
        earlier: reference("t1"),
        later: reference("out-b"),
    };
    assert_eq!(run.wrong(), [doubled("a"), doubled("b"), late]);
}

#[test]
fn a_doubled_deposit_makes_money() {
    let mut run = right();
    run.again("a", "in-a", Movement::Deposit { amount: cents(1000) });
    let wrong = run.wrong();
    assert!(wrong.contains(&Wrong::Doubled {
        reference: reference("in-a"),
        account: name("a"),
        times: 2
    }));
    assert!(wrong.contains(&Wrong::OtherTotal { expected: 1450, found: 2450 }));
}

#[test]
fn a_lost_transfer_is_caught_though_the_total_is_right() {
    let mut run = right();
    run.undo("a", "t1");
    run.undo("b", "t1");
    assert_eq!(run.wrong(), [Wrong::Lost { reference: reference("t1") }]);
}

#[test]
fn a_transfer_with_one_leg_is_caught() {
    let mut run = right();
    run.undo("b", "t1");
    let one_leg =
        Wrong::OneLegOnly { reference: reference("t1"), present: name("a"), missing: name("b") };
    assert_eq!(run.wrong(), [one_leg, Wrong::OtherTotal { expected: 1450, found: 1150 }]);
}

#[test]
fn a_movement_that_nobody_asked_for_is_caught() {
    let mut run = right();
    run.again("a", "ghost", Movement::Deposit { amount: cents(10) });
    let ghost = Wrong::Phantom { reference: reference("ghost"), account: name("a") };
    assert_eq!(run.wrong(), [ghost, Wrong::OtherTotal { expected: 1450, found: 1460 }]);
}

#[test]
fn a_movement_in_a_third_account_is_caught() {
    let mut run = right();
    run.statements.insert(name("c"), Statement::default());
    run.again("c", "t1", Movement::TransferIn { from: name("a"), amount: cents(300) });
    let stray = Wrong::Phantom { reference: reference("t1"), account: name("c") };
    assert!(run.wrong().contains(&stray));
}

#[test]
fn a_call_not_executed_must_not_stand_anywhere() {
    let mut run = right();
    run.again("a", "never", Movement::TransferOut { to: name("b"), amount: cents(1) });
    run.again("b", "never", Movement::TransferIn { from: name("a"), amount: cents(1) });
    let executed = |account: &str| Wrong::ExecutedAfterAll {
        reference: reference("never"),
        account: name(account),
        reported: "reported as not executed (no server)".into(),
    };
    assert_eq!(run.wrong(), [executed("a"), executed("b")]);
}

#[test]
fn a_refused_call_must_not_stand_anywhere() {
    let mut run = right();
    run.again("b", "poor", Movement::TransferIn { from: name("a"), amount: cents(9000) });
    let wrong = run.wrong();
    assert!(matches!(&wrong[0], Wrong::ExecutedAfterAll { account, .. } if *account == name("b")));
    assert!(matches!(wrong[1], Wrong::OtherTotal { .. }));
}

#[test]
fn what_stays_unknown_is_wrong() {
    let mut run = right();
    run.told("maybe", deposit("a", 1), Ending::Unsettled("no answer".into()));
    let unsettled = Wrong::Unsettled { reference: reference("maybe"), reason: "no answer".into() };
    assert_eq!(run.wrong(), [unsettled]);
}

#[test]
fn another_amount_than_asked_for_is_caught() {
    let mut run = right();
    run.statement("a").entries.clear();
    run.statement("a").balance = Balance::ZERO;
    run.again("a", "open-a", Movement::Opened);
    run.again("a", "in-a", Movement::Deposit { amount: cents(1001) });
    run.again("a", "t1", Movement::TransferOut { to: name("b"), amount: cents(300) });
    let wrong = run.wrong();
    assert!(wrong.iter().any(|wrong| matches!(wrong, Wrong::Altered { .. })));
    assert!(wrong.contains(&Wrong::OtherTotal { expected: 1450, found: 1451 }));
}

#[test]
fn a_receipt_of_another_call_is_caught() {
    let mut run = right();
    let other =
        Receipt { reference: reference("in-b"), balance: Balance::from_cents(700).unwrap() };
    run.history[4].ending = Ending::Acknowledged(other);
    assert!(matches!(&run.wrong()[..], [Wrong::OtherReceipt { .. }]));
}

#[test]
fn a_receipt_of_another_state_is_caught() {
    let mut run = right();
    let stale = Receipt { reference: reference("t1"), balance: Balance::from_cents(1000).unwrap() };
    run.history[4].ending = Ending::Acknowledged(stale);
    assert!(matches!(&run.wrong()[..], [Wrong::OtherReceipt { .. }]));
}

#[test]
fn a_broken_chain_is_caught_though_the_balance_is_right() {
    let mut run = right();
    run.statement("b").entries[1].balance = Balance::from_cents(400).unwrap();
    run.history[3].ending = Ending::Acknowledged(Receipt {
        reference: reference("in-b"),
        balance: Balance::from_cents(400).unwrap(),
    });
    let wrong = run.wrong();
    assert!(wrong.iter().all(|wrong| matches!(wrong, Wrong::BrokenChain { .. })));
    assert_eq!(wrong.len(), 2);
}

#[test]
fn a_lost_update_of_the_balance_is_caught() {
    let mut run = right();
    run.statement("b").balance = Balance::from_cents(800).unwrap();
    let balance = Wrong::OtherBalance { account: name("b"), expected: 750, found: 800 };
    assert_eq!(run.wrong(), [balance, Wrong::OtherTotal { expected: 1450, found: 1500 }]);
}

#[test]
fn destroyed_money_is_caught() {
    let mut run = right();
    run.statements.insert(name("b"), Statement::default());
    assert!(run.wrong().contains(&Wrong::OtherTotal { expected: 1450, found: 700 }));
}

#[test]
fn entries_against_the_order_of_the_clock_are_caught() {
    let mut run = right();
    run.done("late", deposit("a", 1));
    let late = run.history.last_mut().unwrap();
    late.ended = Duration::from_secs(3);
    late.began = Duration::from_secs(2);
    let out_of_order = Wrong::OutOfOrder {
        account: name("a"),
        earlier: reference("late"),
        later: reference("t1"),
    };
    assert_eq!(run.wrong(), [out_of_order]);
}

#[test]
fn movements_at_the_same_time_may_stand_in_any_order() {
    let mut run = right();
    run.done("beside", deposit("a", 1));
    let beside = run.history.last_mut().unwrap();
    beside.began = Duration::from_secs(1);
    assert_eq!(run.wrong(), []);
}

#[test]
fn what_is_wrong_names_the_reference() {
    let wrong = Wrong::Doubled { reference: reference("t1"), account: name("a"), times: 2 };
    assert_eq!(wrong.to_string(), "t1: stands 2 times in the statement of a");
}
