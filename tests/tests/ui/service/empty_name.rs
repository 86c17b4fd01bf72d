//! A service without a name.

#[rpc::service(name = "")]
pub trait Bank {
    async fn echo(&self, text: String) -> String;
}

fn main() {}
