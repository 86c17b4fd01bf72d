//! A union.

#[derive(rpc::Schema)]
union Bits {
    number: u32,
    bytes: [u8; 4],
}

fn main() {}
