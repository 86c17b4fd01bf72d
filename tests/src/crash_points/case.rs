//! The kinds of calls that are struck.

use std::str::FromStr;
use std::time::Duration;

use rpc::{Call, CallError, CallId, Message};

use crate::world::{Account, LedgerClient};

/// A kind of call, or what belongs to calls: a session, acknowledgements, the end of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Case {
    /// A read.
    Read,
    /// A write of one document, which is made by it.
    Write,
    /// A business error.
    Error,
    /// A business error whose first request is lost.
    ErrorOnRetry,
    /// A write of two documents.
    Transfer,
    /// A write of two documents that rests on a third.
    Guarded,
    /// A write that removes a document.
    Delete,
    /// A write whose record has a document of its own.
    Anchorless,
    /// A write that never ends, up to its deadline.
    Aborted,
    /// A write that its caller gives up while it runs.
    GivenUp,
    /// A write whose business takes longer than its client waits for an answer.
    Slow,
    /// A write that runs while two later calls of its client begin and end.
    Overtaken,
    /// A write of two sends at most, the first of which has its effect and no answer.
    FailedOver,
    /// A write and the acknowledgement of it, which travels alone.
    Acknowledged,
    /// A session from its first hello to its goodbye, with a write.
    Session,
    /// The collecting of all that calls of an ended session have left.
    Collection,
}

/// How a call ended, in words that two ends of the same kind share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Value(String),
    Business(String),
    NotExecuted(String),
}

/// What an account holds: nothing if there is none.
pub(super) type Holding = Option<(u64, Vec<&'static str>)>;

/// The reference of the call that is struck.
pub(super) const STRUCK: &str = "struck";
/// The deadline of the call that never ends.
const SHORT: Duration = Duration::from_millis(300);

impl Case {
    /// All of them.
    pub const ALL: [Case; 16] = [
        Case::Read,
        Case::Write,
        Case::Error,
        Case::ErrorOnRetry,
        Case::Transfer,
        Case::Guarded,
        Case::Delete,
        Case::Anchorless,
        Case::Aborted,
        Case::GivenUp,
        Case::Slow,
        Case::Overtaken,
        Case::FailedOver,
        Case::Acknowledged,
        Case::Session,
        Case::Collection,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Case::Read => "read",
            Case::Write => "write",
            Case::Error => "error",
            Case::ErrorOnRetry => "error-on-retry",
            Case::Transfer => "transfer",
            Case::Guarded => "guarded",
            Case::Delete => "delete",
            Case::Anchorless => "anchorless",
            Case::Aborted => "aborted",
            Case::GivenUp => "given-up",
            Case::Slow => "slow",
            Case::Overtaken => "overtaken",
            Case::FailedOver => "failed-over",
            Case::Acknowledged => "acknowledged",
            Case::Session => "session",
            Case::Collection => "collection",
        }
    }

    /// Whether it is a call that a client makes of a server.
    pub(super) fn is_call(self) -> bool {
        !matches!(self, Case::Session | Case::Collection)
    }

    /// Whether the business waits before it ends, for ever or for a while.
    pub(super) fn waits(self) -> bool {
        matches!(self, Case::Aborted | Case::GivenUp | Case::Slow | Case::Overtaken)
    }

    /// Whether its outcome is recorded even if nothing goes wrong.
    pub(super) fn is_recorded(self) -> bool {
        !matches!(self, Case::Read | Case::Error)
    }

    /// Makes the call; asks again for it if an id is given.
    pub(super) async fn call(
        self,
        ledger: &LedgerClient,
        again: Option<CallId>,
    ) -> Result<Ended, CallId> {
        let (alice, bob, dave) = (|| "alice".into(), || "bob".into(), || "dave".into());
        let struck = STRUCK.to_owned();
        match self {
            Case::Read => ended(ledger.balance(alice(), struck), again).await,
            Case::Write
            | Case::Slow
            | Case::Overtaken
            | Case::Acknowledged
            | Case::Session
            | Case::Collection => ended(ledger.deposit(dave(), 10, struck), again).await,
            Case::FailedOver => {
                ended(ledger.deposit(dave(), 10, struck).max_attempts(2), again).await
            }
            Case::Error | Case::ErrorOnRetry => {
                ended(ledger.withdraw(alice(), 1_000, struck), again).await
            }
            Case::Transfer => ended(ledger.transfer(alice(), bob(), 10, struck), again).await,
            Case::Guarded => {
                let carol: Account = "carol".into();
                ended(ledger.transfer_if(alice(), bob(), carol, 10, struck), again).await
            }
            Case::Delete => ended(ledger.remove(bob(), struck), again).await,
            Case::Anchorless => ended(ledger.collect(dave(), 10, struck), again).await,
            Case::Aborted | Case::GivenUp => {
                ended(ledger.deposit(alice(), 10, struck).deadline(SHORT), again).await
            }
        }
    }

    /// How it ends.
    pub(super) fn outcome(self) -> Ended {
        match self {
            Case::Read => Ended::Value("100".to_owned()),
            Case::Error | Case::ErrorOnRetry => {
                Ended::Business("Insufficient { held: 100 }".to_owned())
            }
            Case::Transfer | Case::Guarded => Ended::Value("90".to_owned()),
            Case::Delete => Ended::Value("50".to_owned()),
            Case::Aborted | Case::GivenUp => Ended::NotExecuted("Aborted(Deadline)".to_owned()),
            _ => Ended::Value("10".to_owned()),
        }
    }

    /// What the accounts hold when it has taken effect, or when it has not.
    pub(super) fn holdings(self, has_effect: bool) -> [(&'static str, Holding); 4] {
        let mut alice = Some((100, vec![]));
        let (mut bob, mut dave) = (Some((50, vec![])), None);
        match self {
            _ if !has_effect => {}
            Case::Transfer | Case::Guarded => {
                (alice, bob) = (Some((90, vec![STRUCK])), Some((60, vec![STRUCK])));
            }
            Case::Delete => bob = None,
            Case::Read | Case::Error | Case::ErrorOnRetry => {}
            Case::Aborted | Case::GivenUp => {}
            _ => dave = Some((10, vec![STRUCK])),
        }
        [("alice", alice), ("bob", bob), ("carol", Some((7, vec![]))), ("dave", dave)]
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Case, String> {
        let names = Case::ALL.map(Case::name).join(", ");
        let case = Case::ALL.into_iter().find(|case| case.name() == text);
        case.ok_or(format!("there is no case {text}; there are {names}"))
    }
}

/// Makes a call. `Err`: nobody knows how it ended.
async fn ended<A: Message, T, E>(
    call: Call<A, T, E>,
    again: Option<CallId>,
) -> Result<Ended, CallId>
where
    T: Message + std::fmt::Debug,
    E: Message + std::fmt::Debug,
{
    let call = match again {
        Some(id) => call.ask_again(id),
        None => call,
    };
    match call.await {
        Ok(value) => Ok(Ended::Value(format!("{value:?}"))),
        Err(CallError::Business(error)) => Ok(Ended::Business(format!("{error:?}"))),
        Err(CallError::NotExecuted(reason)) => Ok(Ended::NotExecuted(format!("{reason:?}"))),
        Err(CallError::OutcomeUnknown(id, _)) => Err(id),
        Err(other) => Ok(Ended::NotExecuted(format!("{other:?}"))),
    }
}
