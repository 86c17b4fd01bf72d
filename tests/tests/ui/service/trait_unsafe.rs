//! A trait that is unsafe to implement.

#[rpc::service]
pub unsafe trait Bank {
    async fn open(&self, name: String) -> Result<(), String>;
}

fn main() {}
