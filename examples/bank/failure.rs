//! How a command ends when it does not end well.

use std::fmt;

/// One line for the user, and the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code, as `--help` lists them.
    pub(crate) code: u8,
    message: String,
}

impl Failure {
    /// Something that did not work, through no fault of the command line.
    pub(crate) fn failed(message: impl fmt::Display) -> Failure {
        Failure::with_code(1, message)
    }

    /// A flag, an address or a directory that cannot be used.
    pub(crate) fn unusable(message: impl fmt::Display) -> Failure {
        Failure::with_code(2, message)
    }

    /// A failure with an exit code of its own.
    pub(crate) fn with_code(code: u8, message: impl fmt::Display) -> Failure {
        Failure { code, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    /// On one line, whatever the message was made of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.message.lines().map(str::trim).filter(|line| !line.is_empty());
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::unusable("cannot open it:\n  no such file\n");
        assert_eq!(failure.to_string(), "cannot open it: no such file");
        assert_eq!(failure.code, 2);
    }
}
