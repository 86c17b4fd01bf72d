//! The server's side of the protocol.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `handshake.rs` | what a hello must agree with |
//! | `admission.rs` | what a request asks of the table, and what the table asks of the driver |
//! | `table.rs` | [`CallTable`]: the calls of one session, business pending and response ack pending |
//! | `finish.rs` | how a call in the table ends, and what is kept of it |
//! | `slot.rs` | the states of one call in the table |
//!
//! A table is a cache. All that it knows can be forgotten at any time without harm: a retry then
//! finds the call's record in the store, or runs again under the store's check.

mod admission;
mod finish;
pub(crate) mod handshake;
mod slot;
mod table;
#[cfg(test)]
mod table_rule_tests;
#[cfg(test)]
mod table_tests;

pub(crate) use self::admission::{Admission, Duty, Incoming, TableLimits};
pub(crate) use self::handshake::Agreement;
pub(crate) use self::slot::{Answer, Payload, RunNumber};
pub(crate) use self::table::CallTable;
