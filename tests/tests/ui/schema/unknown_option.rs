//! An option that does not exist.

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
#[schema(name = "n")]
struct Named {
    x: u8,
}

fn main() {}
