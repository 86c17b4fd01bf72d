//! A generic document.

#[derive(Debug)]
struct Name(String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]
#[document(key = Name, collection = "account")]
struct Account<T> {
    balance: T,
}

fn main() {}
