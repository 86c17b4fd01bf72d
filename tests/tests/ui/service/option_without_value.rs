//! Options that say nothing.

#[rpc::service(name, crate)]
pub trait Bank {
    async fn echo(&self, text: String) -> String;
}

fn main() {}
