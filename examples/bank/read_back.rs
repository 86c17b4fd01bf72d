//! Reading all statements back when all is over, over a network on which nothing goes wrong.

use std::net::SocketAddr;
use std::time::Duration;

use bank_business::{
    AccountError, AccountName, Balance, BalanceError, BankClient, PageNumber, StatementError,
};
use rpc::client::Stub as _;
use rpc::{CallError, Client};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::history::{Statement, Statements};

/// How long one read may take: longer than any outage that was still going on.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long closing the session may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How many accounts are read at once.
const AT_ONCE: usize = 32;

/// All statements of these accounts.
pub(crate) async fn read_back(
    servers: &[SocketAddr],
    accounts: &[AccountName],
) -> Result<Statements, Failure> {
    let servers = servers.iter().map(ToString::to_string);
    let bank = Client::builder().deadline(DEADLINE).connect::<BankClient>(servers).await;
    let bank = bank.map_err(|error| Failure::failed(format!("cannot read back: {error}")))?;
    let mut reading = JoinSet::new();
    let mut statements = Statements::new();
    for name in accounts {
        if reading.len() >= AT_ONCE {
            keep(reading.join_next().await, &mut statements)?;
        }
        reading.spawn(read(bank.clone(), name.clone()));
    }
    while let Some(read) = reading.join_next().await {
        keep(Some(read), &mut statements)?;
    }
    bank.client().clone().shutdown(SHUTDOWN_LIMIT).await;
    Ok(statements)
}

type Read = Result<(AccountName, Statement), Failure>;

fn keep(
    read: Option<Result<Read, tokio::task::JoinError>>,
    statements: &mut Statements,
) -> Result<(), Failure> {
    let Some(read) = read else { return Ok(()) };
    let (name, statement) = read.map_err(Failure::failed)??;
    statements.insert(name, statement);
    Ok(())
}

async fn read(bank: BankClient, name: AccountName) -> Read {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot read {name} back: {error}"))
    };
    let balance = match bank.balance(name.clone()).await {
        Ok(balance) => balance,
        // It was never opened: the verdict says whether it should have been.
        Err(CallError::Business(BalanceError::Account(AccountError::NoSuchAccount(_)))) => {
            Balance::ZERO
        }
        Err(error) => return Err(failed(&error)),
    };
    let mut statement = Statement { entries: Vec::new(), balance };
    let mut next = Some(PageNumber::FIRST);
    while let Some(page) = next {
        match bank.statement(name.clone(), page).await {
            Ok(page) => {
                statement.entries.extend(page.entries);
                next = page.next;
            }
            Err(CallError::Business(StatementError::Account(AccountError::NoSuchAccount(_)))) => {
                break;
            }
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok((name, statement))
}
