//! What the macros take as it stands: traits and types that a careless macro would trip over. What they
//! refuse, and how, is in `macros_ui.rs`.

#![allow(missing_docs, reason = "where it matters, `strict_lints.rs` asks for it")]

// The runtime's other name, for `renamed_crate.rs`.
pub extern crate rpc as renamed;

pub mod cfg_on_methods;
pub mod generics;
pub mod hostile_names;
pub mod inside_a_function;
pub mod raw_identifiers;
pub mod renamed_crate;
pub mod strict_lints;
pub mod two_hundred_methods;
