//! `bank call`: one call, as a process of its own.

use std::fmt;
use std::time::{Duration, Instant};

use bank_business::{AccountName, BankClient, PageNumber, Receipt, Reference, StatementPage};
use rpc::client::Stub as _;
use rpc::{Call, CallError, Client, ConnectError, Message};

use crate::cli::{CallArgs, CallCommand, ReferenceArg};
use crate::failure::Failure;
use crate::tls;

/// The exit code of a call that the bank refused.
const REFUSED: u8 = 1;
/// The exit code of a call that was not executed.
const NOT_EXECUTED: u8 = 3;
/// The exit code of a call of which nobody can tell.
const UNKNOWN: u8 = 4;

/// How long closing the session may take; if it fails, the server drops it when its lease ends.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// How often an unknown outcome is asked for again.
const ASK_AGAIN: u32 = 3;

/// Makes the call, and prints what came of it.
pub(crate) async fn call(args: CallArgs) -> Result<(), Failure> {
    let servers = args.servers.iter().map(ToString::to_string);
    let begun = Instant::now();
    let connecting = Client::builder().deadline(args.deadline).connect_limit(args.deadline);
    let connecting = match args.tls.files() {
        Some(files) => tls::connect_over(connecting, files, args.tls_server.as_deref())?,
        None => connecting,
    };
    let bank = connecting.connect::<BankClient>(servers).await.map_err(no_bank)?;
    let caller = Caller { bank, deadline: args.deadline.saturating_sub(begun.elapsed()) };
    let ended = match args.call {
        CallCommand::Balance { name } => caller.balance(name).await,
        CallCommand::Statement { name, page } => caller.statement(name, page).await,
        movement => caller.movement(movement).await,
    };
    caller.bank.client().clone().shutdown(SHUTDOWN_LIMIT).await;
    ended
}

struct Caller {
    bank: BankClient,
    deadline: Duration,
}

impl Caller {
    async fn movement(&self, command: CallCommand) -> Result<(), Failure> {
        let bank = &self.bank;
        let (account, receipt) = match command {
            CallCommand::Open { name, reference } => {
                let call = |reference| bank.open(name.clone(), reference);
                (name.clone(), self.make(call, reference).await?)
            }
            CallCommand::Deposit { name, amount, reference } => {
                let call = |reference| bank.deposit(name.clone(), amount, reference);
                (name.clone(), self.make(call, reference).await?)
            }
            CallCommand::Withdraw { name, amount, reference } => {
                let call = |reference| bank.withdraw(name.clone(), amount, reference);
                (name.clone(), self.make(call, reference).await?)
            }
            CallCommand::Transfer { from, to, amount, reference } => {
                let call = |reference| bank.transfer(from.clone(), to.clone(), amount, reference);
                (from.clone(), self.make(call, reference).await?)
            }
            CallCommand::Close { name, reference } => {
                let call = |reference| bank.close(name.clone(), reference);
                (name.clone(), self.make(call, reference).await?)
            }
            CallCommand::Balance { .. } | CallCommand::Statement { .. } => {
                unreachable!("reads are no movements")
            }
        };
        println!("done: {account} holds {} (reference {})", receipt.balance, receipt.reference);
        Ok(())
    }

    /// Makes a movement; while its outcome is unknown, asks again with the same id.
    async fn make<A: Message, E: Message + std::error::Error>(
        &self,
        call: impl Fn(Reference) -> Call<A, Receipt, E>,
        reference: ReferenceArg,
    ) -> Result<Receipt, Failure> {
        let reference = reference.reference.unwrap_or_else(new_reference);
        let mut told = call(reference.clone()).deadline(self.deadline).await;
        for _ in 0..ASK_AGAIN {
            let Err(CallError::OutcomeUnknown(id, _)) = &told else { break };
            let id = *id;
            told = call(reference.clone()).deadline(self.deadline).ask_again(id).await;
        }
        told.map_err(|error| failure(error, Some(&reference)))
    }

    async fn balance(&self, name: AccountName) -> Result<(), Failure> {
        let balance = self.bank.balance(name.clone()).deadline(self.deadline).await;
        println!("{name} holds {}", balance.map_err(|error| failure(error, None))?);
        Ok(())
    }

    async fn statement(&self, name: AccountName, only: Option<PageNumber>) -> Result<(), Failure> {
        println!("{:<32} {:<48} {:>16}", "reference", "movement", "balance");
        let mut next = Some(only.unwrap_or(PageNumber::FIRST));
        while let Some(page) = next {
            let page = self.bank.statement(name.clone(), page).deadline(self.deadline).await;
            let StatementPage { entries, next: following, .. } =
                page.map_err(|error| failure(error, None))?;
            for entry in entries {
                let (reference, movement) = (entry.reference, entry.movement);
                println!("{reference:<32} {:<48} {:>16}", movement.to_string(), entry.balance);
            }
            next = if only.is_some() { None } else { following };
        }
        Ok(())
    }
}

/// A reference that no other movement has.
fn new_reference() -> Reference {
    let reference = format!("ref-{:016x}", fastrand::u64(..));
    reference.parse().expect("a number in hexadecimal is a reference")
}

/// What the user is told if no bank was reached: no call was made then.
fn no_bank(error: ConnectError) -> Failure {
    let advice = "is a server running there? (see `bank serve --help`)";
    match error {
        ConnectError::Unreachable { .. } => {
            Failure::with_code(NOT_EXECUTED, format!("not executed: {error}; {advice}"))
        }
        _ => Failure::unusable(format!("{error}; {advice}")),
    }
}

/// What the user is told, and the exit code that goes with it.
fn failure<E: fmt::Display>(error: CallError<E>, reference: Option<&Reference>) -> Failure {
    match error {
        CallError::Business(error) => Failure::with_code(REFUSED, error),
        CallError::NotExecuted(reason) => {
            Failure::with_code(NOT_EXECUTED, format!("not executed: {reason}; try again"))
        }
        CallError::OutcomeUnknown(_, reason) => match reference {
            Some(reference) => Failure::with_code(
                UNKNOWN,
                format!("unknown: {reason}; look for {reference} in the statement"),
            ),
            None => Failure::with_code(NOT_EXECUTED, format!("no answer: {reason}; try again")),
        },
        _ => Failure::with_code(UNKNOWN, "unknown: look for the reference in the statement"),
    }
}
