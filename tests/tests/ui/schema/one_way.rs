//! Fields that are there in one direction only.

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
struct Account {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing)]
    secret: String,
}

fn main() {}
