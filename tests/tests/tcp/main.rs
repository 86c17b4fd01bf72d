//! Clients and servers with real sockets between them.

mod busy_poll;
mod dropped_calls;
mod failover;
mod shutdown;
mod strangers;
