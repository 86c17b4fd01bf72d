//! A skipped variant before one that travels.

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
enum Step {
    First,
    #[serde(skip)]
    Hidden,
    Last,
}

fn main() {}
