//! The protocol as plain state machines: no sockets, no clock, no runtime, no randomness of its own.
//!
//! They are told the time, given what came in (`handle_*`) and asked for what goes out (`poll_*`).
//! The drivers in [`crate::client`] and [`crate::server`] do the I/O around them; tests drive them
//! by hand.
//!
//! | module | what stands in it |
//! | --- | --- |
//! | `client/` | pending calls, endpoints, acks, time-outs, retries, hedges |
//! | `server/` | business pending and response ack pending, one table per session; the handshake |

pub(crate) mod client;
pub(crate) mod server;
