//! A client process: makes calls until its stdin ends, and says of each when it begins and how it
//! ended.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bank_business::{Amount, BankClient, PageNumber, Receipt, StatementError, StatementPage};
use rpc::client::Stub as _;
use rpc::{Call, CallError, Client, ClientConfig, Message};
use rustix::time::{ClockId, clock_gettime};

use super::bank::reference;
use super::heard::{Line, Nanos};
use super::{CENTS, Failed};
use crate::history::{Account, Ask, Ended, No, account_name};

/// What a client process is given.
#[derive(Clone, Debug, clap::Args)]
pub struct ClientArgs {
    /// The servers
    #[arg(long, value_delimiter = ',')]
    pub servers: Vec<String>,
    /// What its references begin with; no other client may have the same
    #[arg(long)]
    pub name: String,
    /// What its calls are drawn from
    #[arg(long)]
    pub seed: u64,
    /// How many accounts there are
    #[arg(long)]
    pub accounts: Account,
    /// How many calls it has under way at once
    #[arg(long)]
    pub in_flight: usize,
}

/// How long a call is tried; how much longer its outcome is waited for.
const DEADLINE: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_millis(500);
/// How often an unknown outcome is asked for again before it stays unknown.
const ASK_AGAIN: u32 = 4;
/// How long closing the session may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);
/// How long connecting may take: as long as all servers may be away at once.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How calls of chaos are made: with time-outs short enough that much happens in little time.
pub(super) fn config() -> ClientConfig {
    ClientConfig::default()
        .deadline(DEADLINE)
        .settle_grace(GRACE)
        .initial_timeout(Duration::from_millis(200))
        .max_timeout(Duration::from_millis(800))
        .connect_timeout(Duration::from_millis(500))
        .silence_limit(Duration::from_secs(2))
        .max_backoff(Duration::from_millis(300))
        .max_session_writes(500)
}

/// Runs the process.
///
/// # Errors
/// If no server can be reached at all.
pub async fn run(args: ClientArgs) -> Result<(), Failed> {
    let bank: BankClient = Client::builder()
        .config(config())
        .connect_limit(CONNECT_LIMIT)
        .connect(args.servers.clone())
        .await
        .map_err(|error| Failed(format!("client {}: {error}", args.name)))?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ends_when_the_parent_closes_it = std::io::stdin().read_to_end(&mut Vec::new());
        asked.store(true, Ordering::Relaxed);
    });
    let workers = (0..args.in_flight).map(|worker| {
        let mut worker = Worker {
            bank: bank.clone(),
            name: format!("{}-{worker}", args.name),
            rng: fastrand::Rng::with_seed(args.seed ^ (worker as u64) << 32),
            accounts: args.accounts,
            pages: vec![PageNumber::FIRST; args.accounts.into()],
        };
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            for number in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                worker.call(number).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.map_err(|panic| Failed(panic.to_string()))?;
    }
    let stats = bank.client().stats();
    say(&Line::Bye { retries: stats.retries, suspicions: stats.suspicions });
    bank.client().clone().shutdown(SHUTDOWN_LIMIT).await;
    Ok(())
}

struct Worker {
    bank: BankClient,
    name: String,
    rng: fastrand::Rng,
    accounts: Account,
    /// The last page of each statement, as far as it is known.
    pages: Vec<PageNumber>,
}

impl Worker {
    async fn call(&mut self, number: u64) {
        let call = format!("{}-{number}", self.name);
        let ask = self.draw();
        say(&Line::Begin { call: call.clone(), at: now(), ask });
        let ended = match ask {
            Ask::Last(of) => self.read(of).await,
            movement => make(&self.bank, &call, movement, &|| {}).await,
        };
        say(&Line::End { call, at: now(), ended });
    }

    fn draw(&mut self) -> Ask {
        let from = self.rng.u16(..self.accounts);
        let to = (from + 1 + self.rng.u16(..self.accounts - 1)) % self.accounts;
        let cents = self.rng.u16(1..=CENTS / 4);
        match self.rng.u32(..10) {
            0 => Ask::Deposit(from, cents),
            1 => Ask::Withdraw(from, cents),
            2 | 3 => Ask::Last(from),
            _ => Ask::Transfer(from, to, cents),
        }
    }

    /// One read. A page that is full by now says nothing of the present: the next read knows better.
    async fn read(&mut self, of: Account) -> Ended {
        let known = &mut self.pages[usize::from(of)];
        match self.bank.statement(account_name(of), *known).await {
            Ok(StatementPage { next: Some(next), .. }) => {
                *known = next;
                Ended::NotExecuted("the page is full".to_owned())
            }
            Ok(page) => saw(&page),
            Err(CallError::Business(StatementError::NoSuchPage { last, .. })) => {
                *known = last;
                Ended::NotExecuted("there is no such page".to_owned())
            }
            Err(error) => Ended::NotExecuted(error.to_string()),
        }
    }
}

/// Makes one call, and says each time that its outcome is unknown, before it asks again. A statement
/// is read from its first page.
pub(super) async fn make(
    bank: &BankClient,
    call: &str,
    ask: Ask,
    unknown: &(impl Fn() + Sync),
) -> Ended {
    let amount = |cents: u16| Amount::from_cents(cents.into()).expect("some cents are an amount");
    let (name, mine) = (account_name(ask.anchor()), reference(call));
    match ask {
        Ask::Open(_) => settle(unknown, || bank.open(name.clone(), mine.clone())).await,
        Ask::Deposit(_, cents) => {
            settle(unknown, || bank.deposit(name.clone(), amount(cents), mine.clone())).await
        }
        Ask::Withdraw(_, cents) => {
            settle(unknown, || bank.withdraw(name.clone(), amount(cents), mine.clone())).await
        }
        Ask::Transfer(_, to, cents) => {
            let to = account_name(to);
            let make = || bank.transfer(name.clone(), to.clone(), amount(cents), mine.clone());
            settle(unknown, make).await
        }
        Ask::Last(_) => match bank.statement(name, PageNumber::FIRST).await {
            Ok(page) => saw(&page),
            Err(error) => Ended::NotExecuted(error.to_string()),
        },
        Ask::Close(_) | Ask::Balance(_) | Ask::Statement(..) => {
            unreachable!("nobody asks for {ask:?} here")
        }
    }
}

fn saw(page: &StatementPage) -> Ended {
    Ended::Last(page.entries.last().map(|entry| entry.reference.to_string()))
}

/// Makes a movement; while its outcome is unknown, asks again with the same id.
async fn settle<A: Message, E: Message>(
    unknown: &(impl Fn() + Sync),
    make: impl Fn() -> Call<A, Receipt, E>,
) -> Ended
where
    No: From<E>,
{
    let mut told = make().await;
    for _ in 0..ASK_AGAIN {
        let Err(CallError::OutcomeUnknown(id, _)) = told else { break };
        unknown();
        told = make().ask_again(id).await;
    }
    match told {
        Ok(receipt) => {
            Ended::Done { reference: receipt.reference.into(), balance: receipt.balance.cents() }
        }
        Err(CallError::Business(error)) => Ended::No(error.into()),
        Err(CallError::NotExecuted(why)) => Ended::NotExecuted(why.to_string()),
        Err(CallError::OutcomeUnknown(_, why)) => Ended::Lost(why.to_string()),
        Err(_) => Ended::Lost("in a way that no rule knows".to_owned()),
    }
}

/// One write and no more, so that a killed process leaves whole lines but the last.
fn say(line: &Line) {
    let mut text = serde_json::to_string(line).expect("a line is JSON");
    text.push('\n');
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if written.is_err() {
        // Nobody listens any more: then nobody waits for the calls either.
        std::process::exit(0);
    }
}

pub(super) fn now() -> Nanos {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}
