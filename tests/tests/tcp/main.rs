//! Clients and servers with real sockets between them, or what is like them.

mod busy_poll;
mod dropped_calls;
mod failover;
mod lengths;
mod shutdown;
mod strangers;
