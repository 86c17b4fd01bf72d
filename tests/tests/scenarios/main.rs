//! One scenario per row of the case table of `docs/protocol.md`, and per rule behind it.

mod no_error;
