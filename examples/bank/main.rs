//! A bank whose calls happen exactly once, while everything around them fails: `bank --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bank_example::run(std::env::args_os())
}
