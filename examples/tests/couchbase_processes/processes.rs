//! Bank servers as processes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// The `bank` that `cargo test` builds beside this test.
pub(crate) fn bank() -> Command {
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
    let bank = target.join("examples").join(format!("bank{}", std::env::consts::EXE_SUFFIX));
    assert!(bank.exists(), "{} is missing: cargo build --examples", bank.display());
    let mut command = Command::new(bank);
    command.stdin(Stdio::null());
    command
}

/// A server process, killed when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    store: String,
    flags: Vec<String>,
}

impl Server {
    pub(crate) fn start(address: &str, store: &str, flags: &[&str]) -> Server {
        let mut process = bank()
            .args(["serve", "--listen", address, "--store", store])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the bank starts");
        let mut line = String::new();
        let stdout = process.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a server says where it listens");
        let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:"));
        let address = address.unwrap_or_else(|| {
            panic!("no address in {line:?}: is the example built with the feature `couchbase`?")
        });
        let address = address.trim_end_matches(',').to_owned();
        assert!(!line.contains("secret"), "a password was printed: {line}");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Server { process, address, store: store.to_owned(), flags }
    }

    /// Kills it as `kill -9` does, and starts another one in its place.
    pub(crate) fn replace(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("a server of ours can be killed");
        self.process.wait().expect("a killed process ends");
    }

    /// Starts another one in the place of one that was killed.
    pub(crate) fn start_again(&mut self) {
        let flags = self.flags.clone();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        *self = Server::start(&self.address.clone(), &self.store.clone(), &flags);
    }

    /// Lets it stand still.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill starts");
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
