//! Directories with something unexpected in them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::store::embedded::OpenError;

/// A directory of its own for a test, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn below(parent: &Path) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Scratch(parent.join(format!("rpc-store-{}-{number}", std::process::id())))
    }

    fn new() -> Scratch {
        let scratch = Scratch::below(&std::env::temp_dir());
        fs::create_dir(&scratch.0).unwrap();
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the operating system refused when this was to be opened, and of which file.
fn refused(directory: &Path) -> (&'static str, PathBuf) {
    match EmbeddedStore::open(directory, EmbeddedConfig::default()).unwrap_err() {
        OpenError::Io { step, place, .. } => (step, place.into()),
        other => panic!("{other}"),
    }
}

#[test]
fn a_directory_that_cannot_be_looked_into_is_not_taken_for_missing() {
    let scratch = Scratch::new();
    let endless = scratch.path("endless");
    symlink(&endless, &endless).unwrap();
    assert_eq!(refused(&endless), ("look into", endless));
}

#[test]
fn a_tree_that_cannot_be_looked_for_is_not_taken_for_missing() {
    let scratch = Scratch::new();
    let tree = scratch.path("store.redb");
    symlink(&tree, &tree).unwrap();
    assert_eq!(refused(&scratch.0), ("look for", tree));
    assert!(!scratch.path("store.log").exists(), "nothing was made");
}

#[test]
fn a_log_that_cannot_be_opened_is_not_taken_for_missing() {
    let scratch = Scratch::new();
    drop(EmbeddedStore::open(&scratch.0, EmbeddedConfig::default()).unwrap());
    let log = scratch.path("store.log");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    assert_eq!(refused(&scratch.0), ("open", log));
}

#[test]
fn what_stands_in_the_way_of_a_new_store_is_named() {
    let scratch = Scratch::new();
    let new = scratch.path("store.redb.new");
    fs::create_dir(&new).unwrap();
    assert_eq!(refused(&scratch.0), ("remove", new));
}

/// A link to nothing is as a directory that another process has made just now: missing when it was
/// looked for, and there when it is made.
#[test]
fn a_directory_that_is_there_by_now_is_gone_on_with() {
    let scratch = Scratch::new();
    let link = scratch.path("link");
    symlink(scratch.path("nothing"), &link).unwrap();
    assert_eq!(refused(&link), ("open", link.join("lock")));
}

#[test]
fn a_path_may_be_one_name_alone() {
    let scratch = Scratch::below(Path::new(""));
    drop(EmbeddedStore::open(&scratch.0, EmbeddedConfig::default()).unwrap());
    assert!(scratch.path("store.redb").exists());
}
