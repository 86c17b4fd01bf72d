//! RPC whose calls happen exactly once.

extern crate self as rpc;

pub mod client;
pub mod document;
pub mod id;
pub mod schema;
pub mod service;
pub mod store;
pub mod time;
mod tx;

pub use client::{Call, Client};
pub use document::{Document, DocumentKey};
pub use rpc_macros::{Document, Schema, service};
pub use schema::{Message, Schema};
pub use tx::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS_PER_CALL, Tx, View};
