//! An anchor on a method without documents.

#[rpc::service]
pub trait Bank {
    async fn echo(&self, #[anchor] text: String) -> String;
}

fn main() {}
