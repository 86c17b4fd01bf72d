//! The memory store and the embedded store.
//!
//! | what is asked of them | file |
//! | --- | --- |
//! | what every store must do | `memory.rs`, `embedded.rs` |
//! | that they do the same | `model.rs` |
//! | that an answer waits until it is durable | `durability.rs` |
//! | opening, a second process, what is no store | `open.rs` |
//! | a disk that fails at every step | `faults.rs` |

mod durability;
mod embedded;
mod faults;
mod memory;
mod model;
mod open;
