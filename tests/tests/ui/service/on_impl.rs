//! The attribute on the implementation.

struct Bank;

#[rpc::service]
impl Bank {
    async fn open(&self, name: String) -> Result<(), String> {
        drop(name);
        Ok(())
    }
}

fn main() {}
