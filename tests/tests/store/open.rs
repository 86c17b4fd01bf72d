//! Opening the embedded store: a second process, and everything that is no store.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore, OpenError};
use rpc_tests::conformance::{Caller, Draft, body, key, must_be_recorded, must_commit, success};
use tempfile::tempdir;

const CHILD_DIRECTORY: &str = "RPC_STORE_TEST_CHILD_DIRECTORY";
const DATA_FILE: &str = "store.redb";
const LOG_FILE: &str = "store.log";

fn open(directory: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(directory, EmbeddedConfig::default())
}

/// What opening this directory is refused with.
fn refusal(directory: &Path) -> OpenError {
    let error = open(directory).expect_err("this is not to be opened");
    let text = error.to_string();
    assert!(!text.contains('\n'), "the error is one line: {text}");
    assert!(text.contains(&directory.display().to_string()), "the error names the path: {text}");
    error
}

/// A store with one document, closed.
fn make(directory: &Path) {
    let store = open(directory).expect("a new store can be made");
    block_on(async {
        let caller = Caller::open(&store).await;
        must_commit(&store, caller.commit(1).putting(&key("doc"), b"kept")).await;
    });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

#[test]
fn a_second_process_is_refused_until_the_first_is_killed() {
    let directory = tempdir().expect("a temporary directory");
    let mut child = Holder::start(directory.path());
    match refusal(directory.path()) {
        OpenError::InUse { holder, .. } => assert_eq!(holder, Some(child.process.id()), "by whom"),
        other => panic!("it is in use: {other}"),
    }
    child.kill();
    let store = open(directory.path()).expect("a killed process holds nothing");
    block_on(async {
        assert_eq!(body(&store, &key("doc")).await, Some(b"by the child".to_vec()));
        let caller = Caller {
            session: rpc::id::SessionId {
                client: rpc::id::ClientId(1),
                incarnation: rpc::id::Incarnation::FIRST,
            },
            watermark: rpc::id::Seq::FIRST,
        };
        must_be_recorded(&store, &caller.call(1), &success(&1u64.to_le_bytes())).await;
    });
}

/// The first process of the test above: holds a store until it is killed. Run as a test of its
/// own it does nothing.
#[test]
fn child_that_holds_a_store() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let store = open(Path::new(&directory)).expect("the child opens the store");
    block_on(async {
        let caller = Caller::open(&store).await;
        must_commit(&store, caller.commit(1).putting(&key("doc"), b"by the child")).await;
    });
    println!("\nthe child holds the store");
    // Until the parent kills this process, or ends.
    let _ = std::io::stdin().lines().next();
}

struct Holder {
    process: Child,
}

impl Holder {
    fn start(directory: &Path) -> Holder {
        let this = std::env::current_exe().expect("the test has a file");
        let mut process = Command::new(this)
            .args(["--exact", "open::child_that_holds_a_store", "--nocapture"])
            .env(CHILD_DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let said = BufReader::new(process.stdout.take().expect("it is piped"));
        let holds = said.lines().map_while(Result::ok).any(|line| line.contains("holds the store"));
        assert!(holds, "the child ended before it held the store");
        Holder { process }
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.process.kill().expect("the child can be killed");
        self.process.wait().expect("the child has ended");
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_second_store_of_the_same_process_is_refused_until_the_first_is_dropped() {
    let directory = tempdir().expect("a temporary directory");
    let first = open(directory.path()).expect("a new store can be made");
    assert!(matches!(refusal(directory.path()), OpenError::InUse { .. }));
    drop(first);
    open(directory.path()).expect("nobody holds it");
}

#[test]
fn missing_directories_are_created() {
    let root = tempdir().expect("a temporary directory");
    let deep = root.path().join("a").join("b").join("c");
    make(&deep);
    make_sure_that_it_is_kept(&deep);
}

fn make_sure_that_it_is_kept(directory: &Path) {
    let store = open(directory).expect("the store opens");
    let found = block_on(body(&store, &key("doc")));
    assert_eq!(found, Some(b"kept".to_vec()), "the document is there");
}

#[test]
fn a_path_that_is_a_file_is_refused() {
    let root = tempdir().expect("a temporary directory");
    let file = root.path().join("file");
    fs::write(&file, "x").expect("a file");
    assert!(matches!(refusal(&file), OpenError::NotADirectory { .. }));
    let below = file.join("below");
    let error = open(&below).expect_err("a file has nothing below it");
    assert!(matches!(error, OpenError::NotADirectory { .. }), "{error}");
    assert_eq!(fs::read(&file).expect("it is still there"), b"x", "it was not touched");
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_that_cannot_be_written_is_refused() {
    // Not even root can make a directory here.
    let error = open(Path::new("/proc/self/rpc-store")).expect_err("it cannot be made");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("/proc/self/rpc-store"), "{error}");
}

#[test]
fn a_file_of_something_else_is_refused_and_kept() {
    let directory = tempdir().expect("a temporary directory");
    let file = directory.path().join(DATA_FILE);
    fs::write(&file, "not a store, but long enough to look like one".repeat(1_000))
        .expect("a file");
    let before = fs::read(&file).expect("it can be read");
    assert!(matches!(refusal(directory.path()), OpenError::NotAStore { .. }));
    assert_eq!(fs::read(&file).expect("it is still there"), before, "it was not touched");
}

#[test]
fn a_database_of_another_program_is_refused() {
    let directory = tempdir().expect("a temporary directory");
    let database = redb::Database::create(directory.path().join(DATA_FILE)).expect("a database");
    let transaction = database.begin_write().expect("it works");
    let table = redb::TableDefinition::<u64, u64>::new("theirs");
    transaction.open_table(table).expect("it works").insert(1, 2).expect("it works");
    transaction.commit().expect("it works");
    drop(database);
    assert!(matches!(refusal(directory.path()), OpenError::NotAStore { .. }));
}

#[test]
fn another_format_is_refused() {
    let directory = tempdir().expect("a temporary directory");
    make(directory.path());
    let database = redb::Database::open(directory.path().join(DATA_FILE)).expect("a database");
    let transaction = database.begin_write().expect("it works");
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).expect("it is there").insert("format", 99).expect("it works");
    transaction.commit().expect("it works");
    drop(database);
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::OtherFormat { found: 99, expected: 2, .. }), "{error}");
}

#[test]
fn an_emptied_file_is_not_taken_for_a_new_one() {
    let directory = tempdir().expect("a temporary directory");
    make(directory.path());
    fs::write(directory.path().join(DATA_FILE), b"").expect("it can be emptied");
    assert!(matches!(refusal(directory.path()), OpenError::Damaged { .. }));
}

#[test]
fn a_damaged_file_is_refused() {
    let directory = tempdir().expect("a temporary directory");
    make(directory.path());
    let file = directory.path().join(DATA_FILE);
    let whole = fs::read(&file).expect("it can be read");
    // The document's bytes lie in a page that the open must verify.
    let at = whole.windows(4).rposition(|bytes| bytes == b"kept").expect("the body is in the file");
    let mut flipped = whole.clone();
    for position in whole.windows(4).enumerate().filter(|(_, w)| *w == b"kept").map(|(n, _)| n) {
        flipped[position] ^= 1;
    }
    assert_ne!(flipped[at], whole[at], "a bit has flipped");
    fs::write(&file, &flipped).expect("it can be written");
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");

    fs::write(&file, &whole[..whole.len() / 2]).expect("it can be cut");
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");

    fs::write(&file, &whole).expect("it can be restored");
    make_sure_that_it_is_kept(directory.path());
}

#[test]
fn a_store_without_its_own_log_is_refused() {
    let (directory, other) =
        (tempdir().expect("a temporary directory"), tempdir().expect("a temporary directory"));
    make(directory.path());
    make(other.path());
    let log = directory.path().join(LOG_FILE);
    let whole = fs::read(&log).expect("it can be read");
    for instead in [None, Some(Vec::new()), fs::read(other.path().join(LOG_FILE)).ok()] {
        match instead {
            None => fs::remove_file(&log).expect("it can be removed"),
            Some(bytes) => fs::write(&log, bytes).expect("it can be written"),
        }
        let error = refusal(directory.path());
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("log"), "what is damaged: {error}");
    }
    fs::write(&log, &whole).expect("it can be restored");
    make_sure_that_it_is_kept(directory.path());
}

/// A crash in the middle of making a new store leaves nothing that is in the way.
#[test]
fn a_half_made_store_is_made_anew() {
    let directory = tempdir().expect("a temporary directory");
    fs::write(directory.path().join("store.redb.new"), [0; 10_000]).expect("a file");
    fs::write(directory.path().join(LOG_FILE), [1; 10_000]).expect("a file");
    make(directory.path());
    make_sure_that_it_is_kept(directory.path());
}
