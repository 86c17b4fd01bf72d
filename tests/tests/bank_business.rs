//! The rules of the bank, as a caller meets them: through the generated client and dispatcher,
//! over an in-process network and a store in memory.

use std::num::NonZeroU64;
use std::sync::Arc;

use bank_business::{
    AccountError, AccountName, Amount, Balance, BalanceError, BankClient, BankServer, BankService,
    CloseError, DepositError, Entry, Movement, OpenError, PAGE_ENTRIES, PageNumber, Receipt,
    Reference, StatementError, TransferError, WithdrawError,
};
use rpc::store::MemoryStore;
use rpc::transport::InProcess;
use rpc::{CallError, Client, Server};

/// A client of a new bank without accounts.
async fn new_bank() -> BankClient {
    let network = InProcess::new();
    let listener = network.listen("bank");
    let server = Server::builder(BankServer::new(BankService), Arc::new(MemoryStore::new()))
        .listen_on(listener);
    tokio::spawn(server.serve());
    Client::builder().connector(network).connect::<BankClient>(["bank"]).await.unwrap()
}

/// A bank in which `alice` holds 100.00 and `bob` nothing.
async fn bank() -> BankClient {
    let bank = new_bank().await;
    bank.open(name("alice"), reference("open-alice")).await.unwrap();
    bank.open(name("bob"), reference("open-bob")).await.unwrap();
    bank.deposit(name("alice"), amount("100"), reference("salary")).await.unwrap();
    bank
}

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn cents(cents: u64) -> Balance {
    Balance::from_cents(cents).unwrap()
}

fn page(number: u64) -> PageNumber {
    NonZeroU64::new(number).unwrap().into()
}

/// What the business answered, where it is an error.
fn refused<T: std::fmt::Debug, E: std::fmt::Debug>(answer: Result<T, CallError<E>>) -> E {
    match answer {
        Err(CallError::Business(error)) => error,
        other => panic!("expected the bank to refuse, got {other:?}"),
    }
}

async fn statement(bank: &BankClient, account: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut next = Some(PageNumber::FIRST);
    while let Some(page) = next {
        let page = bank.statement(name(account), page).await.unwrap();
        entries.extend(page.entries);
        next = page.next;
    }
    entries
}

fn entry(called: &str, movement: Movement, balance: u64) -> Entry {
    Entry { reference: reference(called), movement, balance: cents(balance) }
}

#[tokio::test]
async fn a_new_account_holds_nothing() {
    let bank = new_bank().await;
    let receipt = bank.open(name("carol"), reference("r1")).await.unwrap();
    assert_eq!(receipt, Receipt { reference: reference("r1"), balance: Balance::ZERO });
    assert_eq!(bank.balance(name("carol")).await.unwrap(), Balance::ZERO);
    assert_eq!(statement(&bank, "carol").await, [entry("r1", Movement::Opened, 0)]);
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let bank = bank().await;
    let error = refused(bank.open(name("alice"), reference("again")).await);
    assert_eq!(error, OpenError::NameTaken(name("alice")));
    assert_eq!(bank.balance(name("alice")).await.unwrap(), cents(10_000));
}

#[tokio::test]
async fn every_movement_stands_once_in_each_account_that_it_touched() {
    let bank = bank().await;
    let moved =
        bank.transfer(name("alice"), name("bob"), amount("30"), reference("rent")).await.unwrap();
    assert_eq!(moved, Receipt { reference: reference("rent"), balance: cents(7_000) });
    bank.withdraw(name("bob"), amount("12.50"), reference("cash")).await.unwrap();
    let to = Movement::TransferOut { to: name("bob"), amount: amount("30") };
    let from = Movement::TransferIn { from: name("alice"), amount: amount("30") };
    assert_eq!(
        statement(&bank, "alice").await,
        [
            entry("open-alice", Movement::Opened, 0),
            entry("salary", Movement::Deposit { amount: amount("100") }, 10_000),
            entry("rent", to, 7_000),
        ]
    );
    assert_eq!(
        statement(&bank, "bob").await,
        [
            entry("open-bob", Movement::Opened, 0),
            entry("rent", from, 3_000),
            entry("cash", Movement::Withdrawal { amount: amount("12.50") }, 1_750),
        ]
    );
}

#[tokio::test]
async fn there_is_no_overdraft() {
    let bank = bank().await;
    let poor = |amount| WithdrawError::InsufficientFunds {
        account: name("alice"),
        balance: cents(10_000),
        amount,
    };
    let too_much = amount("100.01");
    let error = refused(bank.withdraw(name("alice"), too_much, reference("w")).await);
    assert_eq!(error, poor(too_much));
    let moved = bank.transfer(name("alice"), name("bob"), too_much, reference("t")).await;
    assert!(matches!(refused(moved), TransferError::InsufficientFunds { .. }));
    assert_eq!(statement(&bank, "alice").await.len(), 2);
    assert_eq!(statement(&bank, "bob").await.len(), 1);
    let all = bank.withdraw(name("alice"), amount("100"), reference("all")).await.unwrap();
    assert_eq!(all.balance, Balance::ZERO);
}

#[tokio::test]
async fn a_transfer_to_oneself_is_refused() {
    let bank = bank().await;
    let moved = bank.transfer(name("alice"), name("alice"), amount("1"), reference("r")).await;
    assert_eq!(refused(moved), TransferError::SameAccount(name("alice")));
}

#[tokio::test]
async fn accounts_that_are_not_there_are_refused() {
    let bank = bank().await;
    let missing = || AccountError::NoSuchAccount(name("nobody"));
    let one = || amount("1");
    let r = || reference("r");
    let error = refused(bank.deposit(name("nobody"), one(), r()).await);
    assert_eq!(error, DepositError::Account(missing()));
    let error = refused(bank.withdraw(name("nobody"), one(), r()).await);
    assert_eq!(error, WithdrawError::Account(missing()));
    let error = refused(bank.transfer(name("nobody"), name("bob"), one(), r()).await);
    assert_eq!(error, TransferError::Account(missing()));
    let error = refused(bank.transfer(name("alice"), name("nobody"), one(), r()).await);
    assert_eq!(error, TransferError::Account(missing()));
    let error = refused(bank.balance(name("nobody")).await);
    assert_eq!(error, BalanceError::Account(missing()));
    let error = refused(bank.statement(name("nobody"), PageNumber::FIRST).await);
    assert_eq!(error, StatementError::Account(missing()));
    let error = refused(bank.close(name("nobody"), r()).await);
    assert_eq!(error, CloseError::Account(missing()));
    assert_eq!(bank.balance(name("alice")).await.unwrap(), cents(10_000));
}

#[tokio::test]
async fn a_balance_has_a_limit() {
    let bank = bank().await;
    let fills = Balance::MAX.cents() / Amount::MAX.cents();
    for number in 0..fills {
        let reference = reference(&format!("fill-{number}"));
        bank.deposit(name("bob"), Amount::MAX, reference).await.unwrap();
    }
    assert_eq!(bank.balance(name("bob")).await.unwrap(), Balance::MAX);
    let one = amount("0.01");
    let error = refused(bank.deposit(name("bob"), one, reference("more")).await);
    assert_eq!(error, DepositError::BalanceLimit(name("bob")));
    let moved = bank.transfer(name("alice"), name("bob"), one, reference("more")).await;
    assert_eq!(refused(moved), TransferError::BalanceLimit(name("bob")));
    assert_eq!(bank.balance(name("alice")).await.unwrap(), cents(10_000));
}

#[tokio::test]
async fn a_long_statement_comes_in_bounded_pages() {
    let bank = bank().await;
    let movements = 3 * PAGE_ENTRIES;
    for number in 1..movements {
        let reference = reference(&format!("in-{number}"));
        bank.deposit(name("bob"), amount("0.01"), reference).await.unwrap();
    }
    // Full to the last entry, and still no page behind it.
    let last = bank.statement(name("bob"), page(3)).await.unwrap();
    assert_eq!((last.entries.len(), last.next), (PAGE_ENTRIES, None));
    bank.withdraw(name("bob"), amount("0.05"), reference("out")).await.unwrap();
    for number in 1..=3 {
        let full = bank.statement(name("bob"), page(number)).await.unwrap();
        assert_eq!((full.entries.len(), full.next), (PAGE_ENTRIES, Some(page(number + 1))));
    }
    let last = bank.statement(name("bob"), page(4)).await.unwrap();
    assert_eq!((last.entries.len(), last.next), (1, None));
    let entries = statement(&bank, "bob").await;
    assert_eq!(entries.len(), movements + 1);
    let mut references: Vec<_> = entries.iter().map(|entry| entry.reference.as_str()).collect();
    references.sort_unstable();
    references.dedup();
    assert_eq!(references.len(), movements + 1, "each stands once");
    let sum: i64 = entries.iter().map(|entry| entry.movement.change()).sum();
    assert_eq!(cents(sum.try_into().unwrap()), bank.balance(name("bob")).await.unwrap());
    let beyond = refused(bank.statement(name("bob"), page(5)).await);
    assert_eq!(beyond, StatementError::NoSuchPage { page: page(5), last: page(4) });
}

#[tokio::test]
async fn only_an_empty_account_is_closed() {
    let bank = bank().await;
    let error = refused(bank.close(name("alice"), reference("bye")).await);
    assert_eq!(error, CloseError::NotEmpty { account: name("alice"), balance: cents(10_000) });
    bank.deposit(name("alice"), amount("1"), reference("still-open")).await.unwrap();
}

#[tokio::test]
async fn a_closed_account_keeps_its_name_and_its_statement() {
    let bank = bank().await;
    let receipt = bank.close(name("bob"), reference("bye")).await.unwrap();
    assert_eq!(receipt.balance, Balance::ZERO);
    let closed = || AccountError::Closed(name("bob"));
    let one = || amount("1");
    let r = || reference("r");
    assert_eq!(refused(bank.close(name("bob"), r()).await), CloseError::Account(closed()));
    assert_eq!(refused(bank.balance(name("bob")).await), BalanceError::Account(closed()));
    let error = refused(bank.deposit(name("bob"), one(), r()).await);
    assert_eq!(error, DepositError::Account(closed()));
    let error = refused(bank.withdraw(name("bob"), one(), r()).await);
    assert_eq!(error, WithdrawError::Account(closed()));
    let error = refused(bank.transfer(name("alice"), name("bob"), one(), r()).await);
    assert_eq!(error, TransferError::Account(closed()));
    let error = refused(bank.open(name("bob"), r()).await);
    assert_eq!(error, OpenError::NameTaken(name("bob")));
    assert_eq!(
        statement(&bank, "bob").await,
        [entry("open-bob", Movement::Opened, 0), entry("bye", Movement::Closed, 0)]
    );
}

#[tokio::test]
async fn one_reference_may_name_two_movements() {
    let bank = bank().await;
    for _ in 0..2 {
        bank.deposit(name("bob"), amount("1"), reference("rent")).await.unwrap();
    }
    assert_eq!(bank.balance(name("bob")).await.unwrap(), cents(200));
}
