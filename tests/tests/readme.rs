//! The README is a promise: what it shows is what there is.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).expect("the file is part of the project")
}

#[test]
fn the_readme_shows_the_hello_world_as_it_is() {
    let hello = read("examples/hello.rs");
    assert!(hello.lines().count() <= 40, "the hello-world has at most 40 lines");
    assert!(read("README.md").contains(hello.trim_end()), "copy examples/hello.rs into the README");
}

#[test]
fn every_file_that_the_readme_names_is_there() {
    let readme = read("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(link);
        assert!(path.exists(), "the README names {link}");
    }
}
