//! The bank as real processes: servers that are killed, clients that come and go, bad flags.

#[cfg(feature = "tls")]
mod tls;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// The `bank` that `cargo test` builds beside this test.
fn bank() -> Command {
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
    let bank = target.join("examples").join(format!("bank{}", std::env::consts::EXE_SUFFIX));
    assert!(bank.exists(), "{} is missing: cargo build --examples", bank.display());
    let mut command = Command::new(bank);
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    bank().args(arguments).output().expect("the bank starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the bank writes UTF-8")
}

/// What a command says; it must end with this exit code.
fn said(mut command: Command, code: i32) -> String {
    let output = command.output().expect("the bank starts");
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{command:?} said {said}");
    said
}

/// A server process, killed if the test ends before it.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(data: &Path) -> Server {
        Server::start_with(data, &[])
    }

    fn start_with(data: &Path, flags: &[&OsStr]) -> Server {
        let mut process = bank()
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the bank starts");
        let mut line = String::new();
        let stdout = process.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a server says where it listens");
        let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:"));
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Server { address: address.trim_end_matches(',').to_owned(), process }
    }

    /// Makes a call; it must end with this exit code.
    fn call(&self, arguments: &str, code: i32) -> String {
        said(self.calling(arguments), code)
    }

    fn calling(&self, arguments: &str) -> Command {
        let mut command = bank();
        command.args(["call", "--servers", &self.address]).args(arguments.split_whitespace());
        command
    }

    /// Kills it as `kill -9` does.
    fn kill(mut self) {
        self.process.kill().expect("a server of ours can be killed");
        self.process.wait().expect("a killed process ends");
    }

    /// Interrupts it as ctrl-c does.
    fn interrupt(mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().expect("kill starts");
        assert!(sent.success());
        self.process.wait().expect("an interrupted process ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn data() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room for a temporary directory")
}

#[test]
fn calls_are_processes_of_their_own() {
    let data = data();
    let server = Server::start(data.path());
    server.call("open alice", 0);
    server.call("open bob --reference open-bob", 0);
    server.call("deposit alice 100.00 --reference salary", 0);
    let moved = server.call("transfer alice bob 30.50 --reference rent", 0);
    assert!(moved.contains("alice holds 69.50") && moved.contains("rent"), "{moved}");
    server.call("withdraw bob 0.50", 0);
    assert_eq!(server.call("balance bob", 0), "bob holds 30.00\n");
    let statement = server.call("statement bob", 0);
    assert_eq!(statement.lines().count(), 4, "{statement}");
    assert!(statement.contains("30.50 from alice"), "{statement}");
    server.call("transfer bob alice 30.00", 0);
    server.call("close bob", 0);
    assert!(server.call("balance bob", 1).contains("closed"));
}

#[test]
fn a_refusal_is_one_line_and_exit_code_1() {
    let data = data();
    let server = Server::start(data.path());
    server.call("open alice", 0);
    for (call, says) in [
        ("open alice", "taken"),
        ("balance bob", "open it first"),
        ("withdraw alice 1", "holds 0.00, less than 1.00"),
        ("statement alice --page 2", "its last one is 1"),
    ] {
        let said = server.call(call, 1);
        assert!(said.contains(says), "`{call}` said {said}");
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let data = data();
    let server = Server::start(data.path());
    server.call("open alice --reference first", 0);
    server.call("deposit alice 5 --reference second", 0);
    server.kill();
    let server = Server::start(data.path());
    let statement = server.call("statement alice", 0);
    for reference in ["first", "second"] {
        assert_eq!(statement.matches(reference).count(), 1, "{statement}");
    }
    server.call("deposit alice 5", 0);
    assert_eq!(server.call("balance alice", 0), "alice holds 10.00\n");
}

#[test]
fn several_clients_at_once_lose_nothing() {
    let data = data();
    let server = Server::start(data.path());
    server.call("open alice", 0);
    let clients: Vec<Child> = (0..8)
        .map(|number| {
            let call = format!("deposit alice 1.00 --reference client-{number}");
            server.calling(&call).stdout(Stdio::null()).spawn().expect("the bank starts")
        })
        .collect();
    for mut client in clients {
        assert!(client.wait().expect("a client ends").success());
    }
    assert_eq!(server.call("balance alice", 0), "alice holds 8.00\n");
    let statement = server.call("statement alice", 0);
    for number in 0..8 {
        assert_eq!(statement.matches(&format!("client-{number}")).count(), 1, "{statement}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_server_well() {
    let data = data();
    let server = Server::start(data.path());
    server.call("open alice", 0);
    assert_eq!(server.interrupt().code(), Some(0));
}

#[test]
fn what_cannot_be_used_is_one_line_and_exit_code_2() {
    let data = data();
    let server = Server::start(data.path());
    let file = data.path().join("a-file");
    std::fs::write(&file, "not a directory").expect("the directory can be written to");
    let other = data.path().join("other");
    let [used, file, other] = [data.path(), &file, &other].map(|path| path.display().to_string());
    let tls = ["--tls-certificate", &file, "--tls-key", &file, "--tls-authorities", &file];
    for arguments in [
        vec!["--drop", "lots"],
        vec!["--data", &file],
        vec!["--json", "/no/such/directory/file.json"],
        vec!["serve", "--data", &used],
        vec!["serve", "--data", &file],
        vec!["serve", "--data", &other, "--listen", &server.address],
        vec!["serve", "--data", &other, "--listen", "nowhere"],
        // Whether or not it was built with TLS.
        [&["serve", "--data", &other][..], &tls].concat(),
        vec!["call", "--servers", "nowhere", "balance", "alice"],
    ] {
        let output = run(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} said {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?} said {said}");
        assert!(said.starts_with("error: "), "{arguments:?} said {said}");
    }
}

/// The deadline holds for the connection too, whether nobody listens or nobody answers.
#[test]
fn a_call_that_reaches_no_server_ends_at_its_deadline() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port is to be had");
    let address = silent.local_addr().expect("it listens").to_string();
    for address in [free_address(), address] {
        let output =
            run(&["call", "--servers", &address, "--deadline", "300ms", "balance", "alice"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{address} said {said}");
        assert_eq!(said.lines().count(), 1, "{address} said {said}");
        assert!(
            said.starts_with("error: not executed: no server was reached within 300ms"),
            "{said}"
        );
    }
}

#[test]
fn a_run_under_faults_is_right_and_says_so() {
    let directory = data();
    let json: PathBuf = directory.path().join("report.json");
    let output = bank()
        .args(["--seed", "7", "--duration", "4s", "--clients", "4", "--accounts", "16"])
        .args(["--drop", "3%", "--cut", "1%", "--stop-every", "700ms", "--stop-for", "300ms"])
        .args(["--freeze-every", "900ms", "--freeze-for", "700ms", "--json"])
        .arg(&json)
        .output()
        .expect("the bank starts");
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    assert!(table.contains("RIGHT"), "{table}");
    let report = std::fs::read(&json).expect("the report was written");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("the report is JSON");
    assert_eq!(report["seed"], 7);
    assert_eq!(report["verdict"]["right"], true);
    let number = |pointer: &str| report.pointer(pointer).and_then(serde_json::Value::as_u64);
    for happened in [
        "/calls/acknowledged",
        "/clients_did/retries",
        "/faults/messages_dropped",
        "/faults/connections_cut_mid_message",
        "/faults/servers_stopped",
        "/faults/servers_frozen",
    ] {
        assert!(number(happened) > Some(0), "{happened} in {table}");
    }
    assert_eq!(number("/faults/connections_unreadable"), Some(0));
}

/// An address of this machine where nobody listens.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a bound listener has an address").to_string()
}
