//! Names that no collection may have.

#[derive(Debug)]
struct Name(String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]
#[document(key = Name, collection = "Accounts!")]
struct Account {
    balance: u64,
}

#[derive(Debug)]
struct Other(String);

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]
#[document(key = Other, collection = "")]
struct Empty {
    balance: u64,
}

fn main() {}
