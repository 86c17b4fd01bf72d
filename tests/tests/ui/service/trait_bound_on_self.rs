//! A parameter whose bound speaks of `Self`.

#[rpc::service]
pub trait Cache<V: rpc::Message + PartialEq<Self>> {
    async fn get(&self, key: String) -> V;
}

fn main() {}
