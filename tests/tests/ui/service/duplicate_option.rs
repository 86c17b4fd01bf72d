//! An option given twice.

#[rpc::service(name = "bank", name = "bank2")]
pub trait Bank {
    async fn echo(&self, text: String) -> String;
}

fn main() {}
