//! A trait with a lifetime.

#[rpc::service]
pub trait Bank<'a> {
    async fn open(&self, name: String) -> Result<(), String>;
}

fn main() {}
