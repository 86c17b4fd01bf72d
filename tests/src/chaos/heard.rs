//! What client processes say of their calls, one line of JSON each, and what is made of it.
//!
//! A client says that a call begins before it makes it, so a call of a client that was killed is
//! known, too; it has a beginning and no end. Times are those of the machine's monotonic clock, which
//! all processes share.

use bank_business::Entry;
use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use crate::history::{self, Ask, Book, Call, Ended, History};

/// The statement of each account, oldest entry first.
pub type Statements = Vec<Vec<Entry>>;

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
        ended: Ended,
    },
    /// What the client has counted, at its end.
    Bye {
        /// Calls that were sent again.
        retries: u64,
        /// Times that a server was suspected.
        suspicions: u64,
    },
}

/// All that clients have said of their calls.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    calls: Vec<Call>,
    /// By reference.
    numbers: HashMap<String, usize>,
    /// Calls that were sent again.
    pub retries: u64,
    /// Times that a server was suspected.
    pub suspicions: u64,
}

impl Heard {
    /// Takes one line of a client.
    ///
    /// # Errors
    /// If it is no such line, or speaks of a call that has not begun.
    pub fn take(&mut self, line: &str) -> Result<(), String> {
        let line = serde_json::from_str(line)
            .map_err(|error| format!("a client said {line:?}: {error}"))?;
        match line {
            Line::Begin { call, at, ask } => {
                if self.numbers.insert(call.clone(), self.calls.len()).is_some() {
                    return Err(format!("{call} was begun twice"));
                }
                // If nothing more is heard of it, its client was killed.
                let ended = Ended::Crashed;
                self.calls.push(Call { reference: call, ask, begin: at, end: None, ended });
            }
            Line::End { call, at, ended } => {
                let number =
                    self.numbers.get(&call).ok_or_else(|| format!("{call} never began"))?;
                let call = &mut self.calls[*number];
                call.end = (!matches!(ended, Ended::Lost(_))).then_some(at);
                call.ended = ended;
            }
            Line::Bye { retries, suspicions } => {
                self.retries += retries;
                self.suspicions += suspicions;
            }
        }
        Ok(())
    }

    /// How many calls there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// How many calls ended so.
    pub fn count(&self, is_so: impl Fn(&Ended) -> bool) -> usize {
        self.calls.iter().filter(|call| is_so(&call.ended)).count()
    }

    /// What is wrong, if these are the statements in the end.
    #[must_use]
    pub fn check(&self, statements: &Statements) -> Option<String> {
        let history = History {
            first: Vec::new(),
            calls: self.calls.clone(),
            books: statements.iter().map(|entries| Book::of(entries.clone())).collect(),
            is_once: true,
        };
        history::check(&history).err().map(|(rule, detail)| format!("{rule}: {detail}"))
    }
}
