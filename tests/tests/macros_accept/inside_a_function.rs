//! A service in a function, and one made by a `macro_rules!`.

use rpc::client::Stub as _;
use rpc::{Tx, View};

macro_rules! register {
    ($service:ident, $value:ty, $argument:ident) => {
        #[rpc::service(name = "register")]
        pub trait $service {
            async fn set(&self, tx: &mut Tx, $argument: $value) -> Result<$value, String>;
            async fn get(&self, view: &View) -> $value;
        }
    };
}

register!(Number, u64, number);
register!(Text, String, text);

#[test]
fn a_service_may_stand_in_a_function() {
    #[rpc::service]
    trait Local {
        async fn ping(&self, payload: Payload) -> Payload;
    }

    #[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]
    struct Payload(u8);

    assert_eq!(LocalClient::schema().methods[0].structure, "plain(u8)->(u8,never)");
    assert_eq!(NumberClient::schema().methods[0].structure, "write(u64)->(u64,string)");
    assert_eq!(TextClient::schema().methods[1].structure, "read()->(string,never)");
}
