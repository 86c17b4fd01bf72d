//! Options with values of another type.

#[rpc::service(name = bank, crate = "rpc")]
pub trait Bank {
    async fn echo(&self, text: String) -> String;
}

fn main() {}
