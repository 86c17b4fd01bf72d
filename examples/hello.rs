//! A whole service in one file.

fn main() {
    println!("hello");
}
