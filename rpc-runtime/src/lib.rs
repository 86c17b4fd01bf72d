//! RPC whose calls happen exactly once.
//!
//! Annotate a business trait; [`macro@service`] turns it into a client and a server. Any client may call
//! any of several servers that share a [`store`]. Messages get lost, connections break, servers
//! stop, freeze and come back: still every call that is acknowledged took effect exactly once,
//! every call that did not is reported as such, and asking again is always safe.
//!
//! ```
//! use std::sync::Arc;
//!
//! #[rpc::service]
//! pub trait Greeter {
//!     /// Greets whoever asks.
//!     async fn greet(&self, name: &str) -> String;
//! }
//!
//! struct English;
//!
//! impl Greeter for English {
//!     async fn greet(&self, name: &str) -> String {
//!         format!("Hello, {name}!")
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Arc::new(rpc::store::MemoryStore::new());
//! let server = rpc::Server::builder(GreeterServer::new(English), store).bind("127.0.0.1:0").await?;
//! let address = server.address();
//! tokio::spawn(server.serve());
//!
//! let greeter: GreeterClient = rpc::Client::builder().connect([address]).await?;
//! assert_eq!(greeter.greet("Ada").await?, "Hello, Ada!");
//! # Ok(()) }
//! ```
//!
//! # The way of one call
//!
//! ```text
//! caller → generated stub → client driver → protocol::client → bytes → transport
//!   → server driver → protocol::server → generated dispatch → business(Tx) → Store::commit → Committed
//!   → protocol::server → bytes → client driver → protocol::client → caller
//! ```
//!
//! | module | what stands in it | knows nothing of |
//! | --- | --- | --- |
//! | [`id`], [`time`] | the names of things, and time as an integer | everything else |
//! | [`schema`], [`lend`], [`document`], [`mod@service`] | what generated code is made against | sockets, tables |
//! | `tx` | [`Tx`] and [`View`], what the business holds while it runs | the wire |
//! | [`store`] | where an effect and its record become one | the wire |
//! | `wire` | frames, headers, acks, the handshake, as bytes | documents, tokio |
//! | `protocol` | client and server as plain state machines | tokio, clocks, sockets |
//! | [`transport`] | streams of bytes: TCP, TLS, in-process | the protocol |
//! | [`journal`] | where a client remembers its calls | what its rows say |
//! | [`client`], [`server`] | the tokio drivers around the state machines | each other |
//! | [`error`] | what a caller is told | |

// Generated code names this crate `rpc`, also inside it.
extern crate self as rpc;

pub mod client;
mod clock;
#[cfg(feature = "embedded")]
mod disk;
pub mod document;
pub mod error;
pub mod id;
mod io_buffer;
pub mod journal;
pub mod lend;
mod outgoing;
mod panic;
mod protocol;
mod rule;
pub mod schema;
pub mod server;
pub mod service;
pub mod store;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod time;
mod trace;
pub mod transport;
mod tx;
mod wire;

pub use client::{Call, Client, ClientBuilder, ClientConfig, ClientStats, Hedge};
pub use document::{Document, DocumentKey};
pub use error::{CallError, ConnectError, NotExecuted, Unknown};
pub use id::CallId;
pub use rpc_macros::{Document, Schema, service};
pub use schema::{Message, Schema};
pub use server::{BindError, Server, ServerBuilder, ServerConfig, ServerHandle, ServerStats};
pub use store::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS_PER_CALL};
pub use trace::TraceContext;
pub use tx::{Tx, View};
