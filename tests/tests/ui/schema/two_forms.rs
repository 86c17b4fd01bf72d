//! A value that is sent in one form and received in another.

#[derive(Clone, serde::Serialize, serde::Deserialize, rpc::Schema)]
#[serde(from = "u64", into = "u32")]
struct Number(u64);

impl From<u64> for Number {
    fn from(number: u64) -> Number {
        Number(number)
    }
}

impl From<Number> for u32 {
    fn from(number: Number) -> u32 {
        number.0 as u32
    }
}

fn main() {}
