//! A greeter that counts its guests: every call counts once, however often it had to be sent.
use rpc::{Client, Server, Tx, store::MemoryStore};

#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
struct Name(String);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(serde::Serialize, serde::Deserialize, rpc::Document)]
#[document(key = Name, collection = "guest")]
struct Guest(u64);

#[rpc::service]
trait Greeter {
    async fn greet(&self, tx: &mut Tx, #[anchor] name: Name) -> String;
}

struct Polite;
impl Greeter for Polite {
    async fn greet(&self, tx: &mut Tx, name: Name) -> String {
        let visits = tx.get(&name).await.map_or(1, |Guest(before)| before + 1);
        tx.put(&name, &Guest(visits));
        format!("Hello, {name}! This is visit {visits}.")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = std::sync::Arc::new(MemoryStore::new());
    let server = Server::builder(GreeterServer::new(Polite), store).bind("127.0.0.1:0").await?;
    let address = server.address();
    tokio::spawn(server.serve());
    let greeter = Client::builder().connect::<GreeterClient>([address]).await?;
    println!("{}", greeter.greet(Name("Ada".into())).await?);
    Ok(())
}
