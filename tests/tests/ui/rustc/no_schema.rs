//! An argument without a structure is reported at the user's type.

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Order {
    pub number: u64,
}

#[rpc::service]
pub trait Shop {
    async fn place(&self, order: Order) -> Result<(), String>;
}

fn main() {}
