//! Options that do not exist.

#[rpc::service(nmae = "bank", version = 3, "bank")]
pub trait Bank {
    async fn echo(&self, text: String) -> String;
}

fn main() {}
