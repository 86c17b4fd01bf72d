//! Results that borrow.

#[rpc::service]
pub trait Bank {
    async fn name(&self) -> &str;
    async fn names(&self) -> Result<Vec<String>, &str>;
}

fn main() {}
