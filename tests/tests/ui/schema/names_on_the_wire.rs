//! Forms that need names on the wire.

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
#[serde(tag = "kind")]
enum Tagged {
    A { x: u8 },
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
#[serde(untagged)]
enum Untagged {
    A(u8),
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
struct Inner {
    x: u8,
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
struct Flat {
    #[serde(flatten)]
    inner: Inner,
}

fn main() {}
