//! Processes that talk TLS: who has a certificate of the right authority gets in.

use std::ffi::OsStr;
use std::path::PathBuf;

use rpc_tests::certificates::{Authority, Name};
use tempfile::TempDir;

use super::{Server, bank, data, said};

/// One end, and its files.
struct End {
    certificate: PathBuf,
    key: PathBuf,
    authorities: PathBuf,
    _directory: TempDir,
}

impl End {
    /// One with this name, of an authority, that believes another one.
    fn new(name: &str, of: &Authority, believes: &Authority) -> End {
        let (issued, directory) = (of.issue(&[Name::Dns(name)]), data());
        let write = |file: &str, text: &str| {
            let path = directory.path().join(file);
            std::fs::write(&path, text).expect("there is room for it");
            path
        };
        End {
            certificate: write("end.pem", &issued.certificate),
            key: write("end.key", &issued.key),
            authorities: write("authorities.pem", &believes.pem()),
            _directory: directory,
        }
    }

    fn flags(&self) -> [&OsStr; 6] {
        [
            "--tls-certificate".as_ref(),
            self.certificate.as_os_str(),
            "--tls-key".as_ref(),
            self.key.as_os_str(),
            "--tls-authorities".as_ref(),
            self.authorities.as_os_str(),
        ]
    }
}

#[test]
fn who_has_a_certificate_gets_in() {
    let directory = data();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let at_bank = End::new("bank.example", &ours, &ours);
    let server = Server::start_with(directory.path(), &at_bank.flags());
    let call = |end: &End, arguments: &str, code| {
        let mut command = server.calling("--deadline 2s");
        command.args(end.flags()).args(arguments.split_whitespace());
        said(command, code)
    };

    let teller = End::new("teller.example", &ours, &ours);
    call(&teller, "--tls-server bank.example open alice", 0);
    let held = call(&teller, "--tls-server bank.example deposit alice 5", 0);
    assert!(held.contains("alice holds 5.00"), "{held}");

    // Otherwise it must be that of the address, which the server's certificate has not.
    let why = call(&teller, "balance alice", 3);
    assert!(why.contains("must name `127.0.0.1`"), "{why}");
    let stranger = End::new("teller.example", &theirs, &ours);
    let why = call(&stranger, "--tls-server bank.example balance alice", 3);
    assert!(why.contains("alert"), "{why}");
    let doubter = End::new("teller.example", &ours, &theirs);
    let why = call(&doubter, "--tls-server bank.example balance alice", 3);
    assert!(why.contains("authorities"), "{why}");
    server.call("--deadline 2s balance alice", 3);

    let held = call(&teller, "--tls-server bank.example balance alice", 0);
    assert_eq!(held, "alice holds 5.00\n");
}

#[test]
fn flags_that_cannot_be_used() {
    let ours = Authority::new("ours");
    let teller = End::new("teller.example", &ours, &ours);
    let [certificate_flag, certificate, key_flag, key, authorities_flag, authorities] =
        teller.flags();
    let call = |flags: &[&OsStr]| {
        let mut command = bank();
        command.arg("call").args(flags).args(["balance", "alice"]);
        said(command, 2)
    };
    let why = call(&[certificate_flag, certificate]);
    assert!(why.contains("--tls-key"), "{why}");
    let why = call(&["--tls-server".as_ref(), "bank.example".as_ref()]);
    assert!(why.contains("--tls-certificate"), "{why}");
    let no_key =
        [certificate_flag, certificate, key_flag, certificate, authorities_flag, authorities];
    assert!(call(&no_key).contains("holds no private key"));
    let none = "none".as_ref();
    let why = call(&[certificate_flag, certificate, key_flag, key, authorities_flag, none]);
    assert!(why.contains("cannot read none"), "{why}");
}
