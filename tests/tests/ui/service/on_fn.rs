//! The attribute on a function.

#[rpc::service]
pub async fn open(name: String) -> Result<(), String> {
    drop(name);
    Ok(())
}

fn main() {}
