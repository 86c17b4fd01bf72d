//! The clients of a run: they open accounts, bring money in, and move it about, and write down
//! what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bank_business::{AccountName, Amount, BankClient, Receipt, Reference};
use fastrand::Rng;
use rpc::id::CallId;
use rpc::{Call, CallError, Message};
use tokio::sync::Barrier;

use crate::history::{Ending, Order, Record};

/// What each account is opened with, in cents.
const FIRST_DEPOSIT: u64 = 10_000;

/// The largest amount moved later, in cents: large enough that accounts run dry at times, and the
/// bank has something to refuse.
const MAX_MOVED: u64 = 6_000;

/// How often an account is tried to be opened; a call that is not executed is simply made anew.
const OPEN_TRIES: u32 = 20;

/// How long an unknown outcome is asked for before it counts as unsettled.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// How long to wait before asking again.
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

/// What all clients of a run share.
pub(crate) struct Traffic {
    /// What the names and references of this run begin with: no other run has it.
    pub(crate) tag: String,
    /// The accounts that money is moved among.
    pub(crate) accounts: Vec<AccountName>,
    /// How long a caller waits.
    pub(crate) deadline: Duration,
    /// When the run ends.
    pub(crate) end: End,
    begin: Instant,
    made: AtomicU64,
    stopped: AtomicBool,
    all_open: Barrier,
    workers: usize,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After a time.
    After(Duration),
    /// After this many calls.
    Calls(u64),
}

/// What one worker was told.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Its movements.
    pub(crate) history: Vec<Record>,
    /// How long it waited for each first answer.
    pub(crate) waits: Vec<Duration>,
    /// Reads that were answered.
    pub(crate) reads: u64,
    /// Reads that were not.
    pub(crate) failed_reads: u64,
}

impl Log {
    /// Adds what another worker was told.
    pub(crate) fn append(&mut self, mut other: Log) {
        self.history.append(&mut other.history);
        self.waits.append(&mut other.waits);
        self.reads += other.reads;
        self.failed_reads += other.failed_reads;
    }
}

/// One call after the other, beside others of the same client.
pub(crate) struct Worker {
    traffic: Arc<Traffic>,
    bank: BankClient,
    number: usize,
    rng: Rng,
    log: Log,
}

/// What a movement was answered with.
enum Answer {
    Known(Ending),
    Unknown(CallId, String),
}

impl Traffic {
    /// The traffic of this many workers among this many accounts.
    pub(crate) fn new(
        tag: String,
        accounts: u64,
        deadline: Duration,
        end: End,
        workers: usize,
    ) -> Traffic {
        let name = |number: u64| format!("{tag}.a{number}").parse();
        let accounts = (0..accounts).map(name).collect::<Result<_, _>>();
        Traffic {
            accounts: accounts.expect("a tag and a number make an account's name"),
            tag,
            deadline,
            end,
            begin: Instant::now(),
            made: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            all_open: Barrier::new(workers),
            workers,
        }
    }

    /// How long the run has been going on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// How many calls have ended so far.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Ends the run before its time.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether no more calls are made.
    pub(crate) fn is_over(&self) -> bool {
        let over = match self.end {
            End::After(time) => self.elapsed() >= time,
            End::Calls(calls) => self.made() >= calls,
        };
        over || self.stopped.load(Ordering::Relaxed)
    }
}

impl Worker {
    /// The worker of this number, whose choices `rng` makes.
    pub(crate) fn new(traffic: Arc<Traffic>, bank: BankClient, number: usize, rng: Rng) -> Worker {
        Worker { traffic, bank, number, rng, log: Log::default() }
    }

    /// Opens its share of the accounts, then moves money until the run is over.
    pub(crate) async fn work(mut self) -> Log {
        let traffic = Arc::clone(&self.traffic);
        let share = traffic.accounts.iter().skip(self.number).step_by(traffic.workers);
        for name in share {
            self.open(name).await;
        }
        traffic.all_open.wait().await;
        while !traffic.is_over() {
            match self.rng.u8(..100) {
                0..10 => self.read().await,
                _ => {
                    let order = self.choose();
                    self.issue(order).await;
                }
            }
        }
        self.log
    }

    async fn open(&mut self, name: &AccountName) {
        for _ in 0..OPEN_TRIES {
            let opened = self.issue(Order::Open { name: name.clone() }).await;
            if !matches!(opened, Ending::NotExecuted(_)) {
                break;
            }
        }
        let amount = Amount::from_cents(FIRST_DEPOSIT).expect("the first deposit is an amount");
        self.issue(Order::Deposit { name: name.clone(), amount }).await;
    }

    fn choose(&mut self) -> Order {
        let cents = self.rng.u64(1..=MAX_MOVED);
        let amount = Amount::from_cents(cents).expect("what is moved is an amount");
        let accounts = &self.traffic.accounts;
        let first = self.rng.usize(..accounts.len());
        let second = (first + self.rng.usize(1..accounts.len())) % accounts.len();
        let (name, other) = (accounts[first].clone(), accounts[second].clone());
        match self.rng.u8(..100) {
            0..8 => Order::Deposit { name, amount },
            8..16 => Order::Withdraw { name, amount },
            _ => Order::Transfer { from: name, to: other, amount },
        }
    }

    async fn read(&mut self) {
        let name = self.traffic.accounts[self.rng.usize(..self.traffic.accounts.len())].clone();
        let began = Instant::now();
        match self.bank.balance(name).deadline(self.traffic.deadline).await {
            Ok(_) | Err(CallError::Business(_)) => self.log.reads += 1,
            Err(_) => self.log.failed_reads += 1,
        }
        self.log.waits.push(began.elapsed());
        self.traffic.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes a movement, and asks again while its outcome is unknown.
    async fn issue(&mut self, order: Order) -> Ending {
        let reference = format!("{}.w{}.{}", self.traffic.tag, self.number, self.log.history.len());
        let reference: Reference = reference.parse().expect("a tag and numbers make a reference");
        let began = self.traffic.elapsed();
        let mut answer = self.ask(&order, &reference, None).await;
        self.log.waits.push(self.traffic.elapsed() - began);
        let mut asked_again = 0;
        let ending = loop {
            let (id, reason) = match answer {
                Answer::Known(ending) => break ending,
                Answer::Unknown(id, reason) => (id, reason),
            };
            if self.traffic.elapsed() - began > SETTLE_LIMIT {
                break Ending::Unsettled(reason);
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
            asked_again += 1;
            answer = self.ask(&order, &reference, Some(id)).await;
        };
        self.traffic.made.fetch_add(1, Ordering::Relaxed);
        let ended = self.traffic.elapsed();
        let told = ending.clone();
        self.log.history.push(Record { reference, order, began, ended, asked_again, ending });
        told
    }

    async fn ask(&self, order: &Order, reference: &Reference, again: Option<CallId>) -> Answer {
        let bank = &self.bank;
        let deadline = self.traffic.deadline;
        let reference = reference.clone();
        match order.clone() {
            Order::Open { name } => ask(bank.open(name, reference), deadline, again).await,
            Order::Deposit { name, amount } => {
                ask(bank.deposit(name, amount, reference), deadline, again).await
            }
            Order::Withdraw { name, amount } => {
                ask(bank.withdraw(name, amount, reference), deadline, again).await
            }
            Order::Transfer { from, to, amount } => {
                ask(bank.transfer(from, to, amount, reference), deadline, again).await
            }
        }
    }
}

async fn ask<A: Message, E: Message + std::error::Error>(
    call: Call<A, Receipt, E>,
    deadline: Duration,
    again: Option<CallId>,
) -> Answer {
    let call = call.deadline(deadline);
    let told = match again {
        None => call.await,
        Some(id) => call.ask_again(id).await,
    };
    match told {
        Ok(receipt) => Answer::Known(Ending::Acknowledged(receipt)),
        Err(CallError::Business(error)) => Answer::Known(Ending::Refused(error.to_string())),
        Err(CallError::OutcomeUnknown(id, reason)) => Answer::Unknown(id, reason.to_string()),
        Err(CallError::NotExecuted(reason)) => {
            Answer::Known(Ending::NotExecuted(reason.to_string()))
        }
        Err(other) => Answer::Known(Ending::Unsettled(other.to_string())),
    }
}
