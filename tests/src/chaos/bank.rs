//! The bank as the judge uses it: accounts are opened before, statements read after.

use std::time::Duration;

use bank_business::{
    AccountError, AccountName, BankClient, Entry, PageNumber, Reference, StatementError,
    StatementPage,
};
use rpc::client::Stub as _;
use rpc::{CallError, Client};

use super::client::{config, make, now};
use super::heard::{Line, Statements};
use super::process::Record;
use super::{CENTS, Failed};
use crate::history::{Account, Ask, Ended, account_name};

/// How long the judge tries: nothing goes wrong then.
const DEADLINE: Duration = Duration::from_secs(30);
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// A call's name, as the bank takes it.
pub(super) fn reference(call: &str) -> Reference {
    call.parse().expect("a short name is a reference")
}

/// A client of these servers that takes its time.
pub(super) async fn connect(servers: &[String]) -> Result<BankClient, Failed> {
    let config = config().deadline(DEADLINE);
    let client = Client::builder().config(config).connect_limit(DEADLINE);
    client.connect(servers.to_vec()).await.map_err(|error| Failed(error.to_string()))
}

/// Opens the accounts and brings money in, as calls of the history.
pub(super) async fn open(
    servers: &[String],
    accounts: Account,
    record: &Record,
) -> Result<(), Failed> {
    let bank = connect(servers).await?;
    for number in 0..accounts {
        for (name, ask) in [("open", Ask::Open(number)), ("first", Ask::Deposit(number, CENTS))] {
            let call = format!("{name}-{number}");
            record.say(&Line::Begin { call: call.clone(), at: now(), ask });
            let ended = make(&bank, &call, ask, &|| {}).await;
            if !matches!(ended, Ended::Done { .. }) {
                return Err(Failed(format!("{call}: {ended}")));
            }
            record.say(&Line::End { call, at: now(), ended });
        }
    }
    bank.client().clone().shutdown(SHUTDOWN_LIMIT).await;
    Ok(())
}

/// All statements.
pub(super) async fn statements(
    servers: &[String],
    accounts: Account,
) -> Result<Statements, Failed> {
    let bank = connect(servers).await?;
    let mut statements = Statements::new();
    for number in 0..accounts {
        statements.push(statement(&bank, &account_name(number)).await?);
    }
    bank.client().clone().shutdown(SHUTDOWN_LIMIT).await;
    Ok(statements)
}

/// One statement; an account that is not open has an empty one.
async fn statement(bank: &BankClient, name: &AccountName) -> Result<Vec<Entry>, Failed> {
    let mut statement = Vec::new();
    let mut next = Some(PageNumber::FIRST);
    while let Some(page) = next {
        match bank.statement(name.clone(), page).await {
            Ok(StatementPage { entries, next: following, .. }) => {
                statement.extend(entries);
                next = following;
            }
            Err(CallError::Business(StatementError::Account(AccountError::NoSuchAccount(_)))) => {
                break;
            }
            Err(error) => return Err(Failed(format!("{name} cannot be read back: {error}"))),
        }
    }
    Ok(statement)
}
