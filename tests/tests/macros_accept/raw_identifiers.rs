//! Keywords as methods and arguments: the schema has them without `r#`.

use rpc::Tx;
use rpc::client::Stub as _;

#[rpc::service]
pub trait r#Try {
    async fn r#type(&self, tx: &mut Tx, r#match: u8, r#self_: u8) -> Result<u8, String>;
    async fn r#loop(&self) -> u8;
}

struct Ours;

impl r#Try for Ours {
    async fn r#type(&self, _: &mut Tx, r#match: u8, r#self_: u8) -> Result<u8, String> {
        Ok(r#match + r#self_)
    }
    async fn r#loop(&self) -> u8 {
        1
    }
}

async fn calls(client: TryClient) {
    let _ = client.r#type(1, 2).await;
    let _ = client.r#loop().await;
}

#[test]
fn keywords_are_named_without_their_mark() {
    let _ = (TryServer::new(Ours), calls);
    let schema = TryClient::schema();
    assert_eq!(schema.name, "Try");
    let names: Vec<_> = schema.methods.iter().map(|method| method.name).collect();
    assert_eq!(names, ["type", "loop"]);
}
