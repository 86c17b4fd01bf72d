//! A field without a structure is reported at its type.

#[derive(serde::Serialize, serde::Deserialize)]
struct Inner {
    x: u8,
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
struct Outer {
    inner: Inner,
}

fn main() {}
