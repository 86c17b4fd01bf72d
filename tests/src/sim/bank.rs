//! The bank of a world: the real business, in which calls can be held up.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bank_business::documents::{Account, FullPage, PageKey};
use bank_business::{
    AccountName, Amount, Balance, BalanceError, Bank, BankService, CloseError, DepositError, Entry,
    Movement, OpenError, PAGE_ENTRIES, PageNumber, Receipt, Reference, StatementError,
    StatementPage, TransferError, WithdrawError,
};
use bytes::Bytes;
use rpc::store::DocKey;
use rpc::{DocumentKey as _, Tx, View};

use super::calls::number_of;
use super::fault::Step;
use super::hub::Hub;
use super::plan::{ACCOUNTS, Plan};
use super::steps::{RUNNING, Running};
use crate::history::{Account as Number, account_name};

/// The bank on one server.
#[derive(Clone, Debug)]
pub(super) struct BankOn {
    pub(super) hub: Arc<Hub>,
    pub(super) server: u8,
}

/// What the first deposit into a preloaded account brings, in cents.
const FIRST_DEPOSIT: u64 = 300;
/// How often the business may run in one world: more is a circle.
const MAX_RUNS: u64 = 20_000;

/// The document of an account.
pub(super) fn account_key(account: Number) -> &'static str {
    const KEYS: [&str; ACCOUNTS as usize] =
        ["account:a0", "account:a1", "account:a2", "account:a3"];
    KEYS[usize::from(account)]
}

/// The entries that an account has at the start.
pub(super) fn first_entries(count: u8) -> Vec<Entry> {
    let mut balance = 0;
    let entry = |number: u8| {
        let movement = match number {
            0 => Movement::Opened,
            1 => deposit(FIRST_DEPOSIT),
            _ => deposit(1),
        };
        balance += match number {
            0 => 0,
            1 => FIRST_DEPOSIT,
            _ => 1,
        };
        let balance = Balance::from_cents(balance).expect("a small balance");
        let reference = format!("p{number}").parse().expect("a short reference");
        Entry { reference, movement, balance }
    };
    (0..count).map(entry).collect()
}

fn deposit(cents: u64) -> Movement {
    Movement::Deposit { amount: Amount::from_cents(cents).expect("a small amount") }
}

/// The documents that are there at the start.
pub(super) fn preloaded(plan: &Plan) -> Vec<(DocKey, Bytes)> {
    let mut documents = Vec::new();
    for (account, count) in (0..).zip(&plan.accounts) {
        for (page, body) in bodies(*count) {
            let account = account_name(account);
            let key = match page {
                None => account.doc_key(),
                Some(page) => PageKey { account, page }.doc_key(),
            };
            documents.push((key.expect("a short name"), body));
        }
    }
    documents
}

/// The documents of an account with this many entries: its own, and its full pages.
fn bodies(count: u8) -> Vec<(Option<PageNumber>, Bytes)> {
    type Made = Vec<Option<Vec<(Option<PageNumber>, Bytes)>>>;
    thread_local! {
        /// Made once: there are few sorts of accounts, and many worlds.
        static MADE: RefCell<Made> = const { RefCell::new(Vec::new()) };
    }
    MADE.with_borrow_mut(|made| {
        let index = usize::from(count);
        made.resize(made.len().max(index + 1), None);
        made[index].get_or_insert_with(|| make_bodies(count)).clone()
    })
}

fn make_bodies(count: u8) -> Vec<(Option<PageNumber>, Bytes)> {
    let entries = first_entries(count);
    let Some(last) = entries.last() else { return Vec::new() };
    let balance = last.balance;
    let pages: Vec<&[Entry]> = entries.chunks(PAGE_ENTRIES).collect();
    let mut bodies = Vec::new();
    let mut number = PageNumber::FIRST;
    for (index, page) in pages.iter().enumerate() {
        let entries = page.to_vec();
        let is_last = index + 1 == pages.len();
        let body = if is_last {
            let account = Account { balance, closed: false, page: number, entries };
            serde_json::to_vec(&account)
        } else {
            serde_json::to_vec(&FullPage { entries })
        };
        let page = (!is_last).then_some(number);
        bodies.push((page, Bytes::from(body.expect("documents of the bank are JSON"))));
        number = number.next();
    }
    bodies
}

impl BankOn {
    /// Runs the business of a call, held up as planned.
    async fn run<T>(&self, running: Running, business: impl Future<Output = T>) -> T {
        let [before, after] = self.begin(running);
        pause(before).await;
        let ended = within(running, business).await;
        pause(after).await;
        ended
    }

    async fn write<T>(&self, reference: &Reference, business: impl Future<Output = T>) -> T {
        match number_of(reference.as_str()) {
            Some(call) => self.run(Running::Write(call), business).await,
            None => business.await,
        }
    }

    /// The business begins. Returns how long it works, before and after.
    fn begin(&self, running: Running) -> [u16; 2] {
        self.hub.with(|state| {
            let call = match running {
                Running::Read => None,
                Running::Write(call) => Some(call),
            };
            state.figures.runs += 1;
            if state.figures.runs > MAX_RUNS {
                state.fail("did not finish", || format!("the business has run {MAX_RUNS} times"));
            }
            let fault = state.take(&self.hub.plan, Step::Business, self.server);
            state.digest(b'b', [self.server.into(), call.map_or(u64::MAX, u64::from), 0], &[]);
            let client = call.map_or(0, |call| state.calls.all[usize::from(call)].client);
            if let Some(fault) = fault
                && state.strike(fault, self.server, client, call)
            {
                state.coverage.struck(fault, Step::Business);
            }
            call.map_or([0, 0], |call| state.calls.all[usize::from(call)].plan.work_ms)
        })
    }
}

/// Lets the store know whose reads these are.
async fn within<T>(running: Running, business: impl Future<Output = T>) -> T {
    let mut business = pin!(business);
    std::future::poll_fn(|context| {
        RUNNING.set(Some(running));
        let polled = business.as_mut().poll(context);
        RUNNING.set(None);
        polled
    })
    .await
}

async fn pause(millis: u16) {
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis.into())).await;
    }
}

impl Bank for BankOn {
    async fn open(
        &self,
        tx: &mut Tx,
        name: AccountName,
        reference: Reference,
    ) -> Result<Receipt, OpenError> {
        self.write(&reference.clone(), BankService.open(tx, name, reference)).await
    }

    async fn deposit(
        &self,
        tx: &mut Tx,
        name: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, DepositError> {
        self.write(&reference.clone(), BankService.deposit(tx, name, amount, reference)).await
    }

    async fn withdraw(
        &self,
        tx: &mut Tx,
        name: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, WithdrawError> {
        self.write(&reference.clone(), BankService.withdraw(tx, name, amount, reference)).await
    }

    async fn transfer(
        &self,
        tx: &mut Tx,
        from: AccountName,
        to: AccountName,
        amount: Amount,
        reference: Reference,
    ) -> Result<Receipt, TransferError> {
        let business = BankService.transfer(tx, from, to, amount, reference.clone());
        self.write(&reference, business).await
    }

    async fn balance(&self, view: &View, name: AccountName) -> Result<Balance, BalanceError> {
        self.run(Running::Read, BankService.balance(view, name)).await
    }

    async fn statement(
        &self,
        view: &View,
        name: AccountName,
        page: PageNumber,
    ) -> Result<StatementPage, StatementError> {
        self.run(Running::Read, BankService.statement(view, name, page)).await
    }

    async fn close(
        &self,
        tx: &mut Tx,
        name: AccountName,
        reference: Reference,
    ) -> Result<Receipt, CloseError> {
        self.write(&reference.clone(), BankService.close(tx, name, reference)).await
    }
}
