//! What client processes say of their calls, one line of JSON each, and what is made of it.
//!
//! A client says that a call begins before it makes it, so a call of a client that was killed is
//! known, too; it has a beginning and no end. Times are those of the machine's monotonic clock, which
//! all processes share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A moment, in nanoseconds of the machine's monotonic clock.
pub type Nanos = u64;

/// One line of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// A call is about to be made.
    Begin {
        /// Its reference.
        call: String,
        /// When.
        at: Nanos,
        /// What is to be done.
        ask: Ask,
    },
    /// It has ended.
    End {
        /// Its reference.
        call: String,
        /// When.
        at: Nanos,
        /// How.
        told: Told,
    },
    /// What the client has counted, at its end.
    Bye {
        /// Calls that were sent again.
        retries: u64,
        /// Times that a server was suspected.
        suspicions: u64,
    },
}

/// What a call is to do, with accounts by number and money in cents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Bring money in.
    Deposit(usize, u64),
    /// Take money out.
    Withdraw(usize, u64),
    /// Move money from the first account to the second.
    Transfer(usize, usize, u64),
    /// Read the last page of a statement that is not full yet.
    Read(usize),
}

impl Ask {
    /// The accounts that it changes.
    #[must_use]
    pub fn changes(&self) -> Vec<usize> {
        match *self {
            Ask::Deposit(account, _) | Ask::Withdraw(account, _) => vec![account],
            Ask::Transfer(from, to, _) => vec![from, to],
            Ask::Read(_) => Vec::new(),
        }
    }
}

/// What a caller was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// It took effect; the balance after it.
    Done(u64),
    /// The reference of the last entry that a read has seen; none: an account without entries.
    Saw(Option<String>),
    /// The bank refused, or the call was not executed.
    No,
    /// Nobody knows.
    Unknown,
}

/// A call with its beginning and, if there was one, its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its reference.
    pub call: String,
    /// What was to be done.
    pub ask: Ask,
    /// When it began.
    pub begin: Nanos,
    /// When it ended; never, if its client was killed.
    pub end: Option<Nanos>,
    /// What its caller was told; unknown, if its client was killed.
    pub told: Told,
}

/// All calls of the clients, by their references.
#[derive(Clone, Debug, Default)]
pub struct History {
    made: BTreeMap<String, Made>,
    /// Calls that were sent again.
    pub retries: u64,
    /// Times that a server was suspected.
    pub suspicions: u64,
}

impl History {
    /// Takes one line of a client.
    ///
    /// # Errors
    /// If it is no such line, or speaks of a call that has not begun.
    pub fn take(&mut self, line: &str) -> Result<(), String> {
        let line = serde_json::from_str(line)
            .map_err(|error| format!("a client said {line:?}: {error}"))?;
        match line {
            Line::Begin { call, at, ask } => {
                let made =
                    Made { call: call.clone(), ask, begin: at, end: None, told: Told::Unknown };
                if self.made.insert(call.clone(), made).is_some() {
                    return Err(format!("{call} was begun twice"));
                }
            }
            Line::End { call, at, told } => {
                let made = self.made.get_mut(&call).ok_or_else(|| format!("{call} never began"))?;
                made.end = Some(at);
                made.told = told;
            }
            Line::Bye { retries, suspicions } => {
                self.retries += retries;
                self.suspicions += suspicions;
            }
        }
        Ok(())
    }

    /// The calls, by reference.
    pub fn calls(&self) -> impl Iterator<Item = &Made> {
        self.made.values()
    }

    /// The call of this reference.
    #[must_use]
    pub fn call(&self, reference: &str) -> Option<&Made> {
        self.made.get(reference)
    }

    /// How many calls were told this.
    pub fn count(&self, told: impl Fn(&Told) -> bool) -> usize {
        self.calls().filter(|made| told(&made.told)).count()
    }
}
