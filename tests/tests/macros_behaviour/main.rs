//! What generated code does, as far as it shows without a store: structures and fingerprints, bytes
//! to calls and back, anchors.

mod lent;

use std::fmt;
use std::marker::PhantomData;

use rpc::client::Stub;
use rpc::id::MethodId;
use rpc::schema::{Fingerprint, Schema, SchemaWriter};
use rpc::service::{
    ArgumentError, DecodeError, Kind, MethodSchema, NoError, Service, Verdict, decode_value,
    encode_value,
};
use rpc::{Document, DocumentKey, Tx, View};
use serde::{Deserialize, Serialize};

/// A service whose structure and bytes are looked at.
#[rpc::service(name = "shop")]
pub trait Shop {
    /// A write with an anchor that is not its first argument.
    async fn order(&self, tx: &mut Tx, count: u32, #[anchor] item: ItemName) -> Result<u64, Gone>;
    /// A write without an anchor.
    async fn restock(&self, tx: &mut Tx) -> Result<(), Gone>;
    /// A read that cannot fail.
    async fn stock(&self, view: &View, item: ItemName) -> Option<Item>;
    /// A method without documents that can fail.
    async fn double(&self, number: u8) -> Result<u8, Gone>;
}

/// The key of an [`Item`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, rpc::Schema)]
#[serde(try_from = "String", into = "String")]
pub struct ItemName(String);

impl TryFrom<String> for ItemName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<ItemName, &'static str> {
        if name.is_empty() { Err("empty") } else { Ok(ItemName(name)) }
    }
}

impl From<ItemName> for String {
    fn from(name: ItemName) -> String {
        name.0
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document whose collection is named after it.
#[derive(Debug, PartialEq, Serialize, Deserialize, rpc::Document, rpc::Schema)]
#[document(key = ItemName)]
pub struct Item {
    left: u32,
}

/// An error.
#[derive(Debug, PartialEq, Serialize, Deserialize, rpc::Schema)]
pub enum Gone {
    /// For now.
    SoldOut,
    /// For ever.
    Unknown(ItemName),
}

struct Ours;

impl Shop for Ours {
    async fn order(&self, tx: &mut Tx, count: u32, item: ItemName) -> Result<u64, Gone> {
        let Some(mut found) = tx.get(&item).await else { return Err(Gone::Unknown(item)) };
        found.left = found.left.checked_sub(count).ok_or(Gone::SoldOut)?;
        tx.put(&item, &found);
        Ok(u64::from(found.left))
    }
    async fn restock(&self, _: &mut Tx) -> Result<(), Gone> {
        Ok(())
    }
    async fn stock(&self, view: &View, item: ItemName) -> Option<Item> {
        view.get(&item).await
    }
    async fn double(&self, number: u8) -> Result<u8, Gone> {
        number.checked_mul(2).ok_or(Gone::SoldOut)
    }
}

type Server = ShopServer<Ours>;

fn encoded(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_value(value, &mut bytes).unwrap();
    bytes
}

fn method(name: &str) -> MethodSchema {
    let schema = Server::schema();
    schema.methods.into_iter().find(|method| method.name == name).unwrap()
}

#[test]
fn both_ends_have_the_same_schema() {
    let (client, server) = (ShopClient::schema(), Server::schema());
    assert_eq!(client.name, "shop");
    assert_eq!(format!("{client:?}"), format!("{server:?}"));
}

#[test]
fn a_schema_tells_ids_kinds_and_structures() {
    let methods = Server::schema().methods;
    let found: Vec<_> =
        methods.iter().map(|it| (it.id.0, it.kind, it.structure.as_str())).collect();
    let gone = "<SoldOut|Unknown{0:string}>";
    assert_eq!(
        found,
        [
            (0, Kind::Write, format!("write(u32,string)->(u64,{gone})").as_str()),
            (1, Kind::Write, format!("write()->(unit,{gone})").as_str()),
            (2, Kind::Read, "read(string)->(option[{left:u32}],never)"),
            (3, Kind::Plain, format!("plain(u8)->(u8,{gone})").as_str()),
        ]
    );
}

#[tokio::test]
async fn bytes_that_are_no_call_are_refused() {
    let server = Server::new(Ours);
    let refused = async |method, bytes: &[u8]| {
        server.plain(MethodId(method), bytes).await.err().expect("it is no call")
    };
    use ArgumentError::{NoSuchMethod, Undecodable};
    assert!(matches!(refused(4, &[]).await, NoSuchMethod(MethodId(4))));
    assert!(matches!(refused(0, &[]).await, NoSuchMethod(MethodId(0))), "a write is not plain");
    assert!(matches!(refused(3, &[]).await, Undecodable(DecodeError::Malformed(_))));
    assert!(matches!(refused(3, &[1, 2]).await, Undecodable(DecodeError::TrailingBytes(1))));
}

#[test]
fn the_anchor_is_the_document_of_the_marked_argument() {
    let anchor = |method, arguments: &[u8]| Server::anchor(MethodId(method), arguments);
    let named = |name: &str| encoded(&(3u32, ItemName(name.to_owned())));
    assert_eq!(anchor(0, &named("tea")).unwrap().unwrap().as_str(), "item:tea");
    assert_eq!(anchor(1, &[]).unwrap(), None, "a write without an anchor");
    assert_eq!(anchor(3, &[]).unwrap(), None, "no write");
    let endless = anchor(0, &named(&"x".repeat(1000)));
    assert!(matches!(endless, Err(ArgumentError::Unnameable(_))));
    // A name that its own type refuses.
    assert!(matches!(anchor(0, &named("")), Err(ArgumentError::Undecodable(_))));
    assert!(matches!(anchor(0, &[3]), Err(ArgumentError::Undecodable(_))));
}

#[tokio::test]
async fn a_call_goes_from_bytes_to_bytes() {
    let run = async |number: u8| {
        let arguments = encoded(&(number,));
        let response = Server::new(Ours).plain(MethodId(3), &arguments).await.unwrap();
        let mut bytes = vec![0xff];
        let verdict = Server::encode(&response, &mut bytes).unwrap();
        assert_eq!(bytes[0], 0xff, "what was there before stays");
        (verdict, bytes.split_off(1))
    };
    let (verdict, bytes) = run(21).await;
    assert_eq!((verdict, decode_value::<u8>(&bytes).unwrap()), (Verdict::Success, 42));
    let (verdict, bytes) = run(200).await;
    assert_eq!(verdict, Verdict::BusinessError);
    assert_eq!(decode_value::<Gone>(&bytes).unwrap(), Gone::SoldOut);
}

#[test]
fn documents_know_their_collection() {
    assert_eq!(<<Item as Document>::Key as DocumentKey>::COLLECTION, "item");
}

/// The same methods as in [`Shop`], with types of other names.
mod renamed {
    use super::*;

    #[derive(Serialize, Deserialize, rpc::Schema)]
    pub(crate) struct Title(String);

    #[derive(Serialize, Deserialize, rpc::Schema)]
    pub(crate) struct Stock {
        pub(crate) left: u32,
    }

    #[rpc::service]
    pub(crate) trait Store {
        async fn stock(&self, view: &View, title: Title) -> Option<Stock>;
        async fn order(&self, tx: &mut Tx, item: Title, count: u32) -> Result<u64, NoError>;
    }
}

#[test]
fn fingerprints_see_structure_and_not_names() {
    let other = renamed::StoreClient::schema().methods;
    assert_eq!(method("stock").fingerprint, other[0].fingerprint);
    assert_ne!(method("order").fingerprint, other[1].fingerprint);
}

fn text<T: Schema>() -> String {
    SchemaWriter::text_of::<T>()
}

fn fingerprint<T: Schema>() -> Fingerprint {
    Fingerprint::of(&text::<T>())
}

#[test]
fn the_order_and_the_names_of_fields_count() {
    #[derive(rpc::Schema)]
    #[allow(dead_code)]
    struct One {
        a: u8,
        b: u16,
    }
    #[derive(rpc::Schema)]
    #[allow(dead_code)]
    struct Swapped {
        b: u16,
        a: u8,
    }
    #[derive(rpc::Schema)]
    #[allow(dead_code)]
    struct Renamed {
        a: u8,
        c: u16,
    }
    mod elsewhere {
        #[derive(rpc::Schema)]
        #[allow(dead_code)]
        pub(crate) struct Other {
            r#a: u8,
            b: u16,
        }
    }
    assert_eq!(fingerprint::<One>(), fingerprint::<elsewhere::Other>());
    assert_ne!(fingerprint::<One>(), fingerprint::<Swapped>());
    assert_ne!(fingerprint::<One>(), fingerprint::<Renamed>());
}

#[test]
fn every_shape_of_type_is_described() {
    #[derive(rpc::Schema)]
    struct Unit;
    #[derive(rpc::Schema)]
    #[allow(dead_code)]
    struct Pair(u8, String);
    #[derive(rpc::Schema)]
    #[allow(dead_code)]
    enum Shape {
        Unit,
        Newtype(u8),
        Tuple(u8, u8),
        Struct { r#type: Vec<u8> },
    }
    #[derive(rpc::Schema)]
    #[allow(dead_code)]
    struct Tree<T> {
        value: T,
        children: Vec<Tree<T>>,
    }
    assert_eq!(text::<Unit>(), "{}");
    assert_eq!(text::<Pair>(), "{0:u8,1:string}");
    assert_eq!(text::<Shape>(), "<Unit|Newtype{0:u8}|Tuple{0:u8,1:u8}|Struct{type:seq[u8]}>");
    assert_eq!(text::<Tree<u8>>(), "{value:u8,children:seq[^0]}");
}

#[test]
fn only_parameters_that_travel_need_a_structure() {
    struct NoSchema;
    #[derive(rpc::Schema)]
    struct Id<T> {
        _number: u64,
        _of: PhantomData<fn() -> T>,
    }
    assert_eq!(text::<Id<NoSchema>>(), "{_number:u64,_of:unit}");
}

#[test]
fn forms_that_serde_is_told_of_count() {
    #[derive(Clone, Serialize, Deserialize, rpc::Schema)]
    #[serde(from = "u64", into = "u64")]
    struct Number {
        inner: u32,
    }
    impl From<u64> for Number {
        fn from(number: u64) -> Number {
            Number { inner: number as u32 }
        }
    }
    impl From<Number> for u64 {
        fn from(number: Number) -> u64 {
            number.inner.into()
        }
    }
    #[derive(Serialize, Deserialize, rpc::Schema)]
    #[serde(transparent)]
    struct Clear {
        inner: Vec<Number>,
        #[serde(skip)]
        _cache: Option<String>,
        _mark: PhantomData<u8>,
    }
    mod as_text {
        pub(crate) fn serialize<S: serde::Serializer>(
            number: &u64,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_str(number)
        }
        pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
            from: D,
        ) -> Result<u64, D::Error> {
            let text = <String as serde::Deserialize>::deserialize(from)?;
            text.parse().map_err(serde::de::Error::custom)
        }
    }
    #[derive(Serialize, Deserialize, rpc::Schema)]
    struct Mixed {
        #[serde(skip)]
        _cache: Option<String>,
        #[serde(rename = "other", default)]
        kept: u8,
        #[serde(with = "as_text")]
        text: u64,
    }
    #[derive(Serialize, Deserialize, rpc::Schema)]
    #[allow(dead_code)]
    enum Steps {
        First,
        #[serde(skip)]
        Hidden,
    }
    assert_eq!(text::<Number>(), "u64");
    assert_eq!(text::<Clear>(), "seq[u64]");
    assert_eq!(text::<Mixed>(), "{kept:u8,text:with as_text[u64]}");
    assert_eq!(text::<Steps>(), "<First>");
    // The text says what travels: the bytes of each are those of its form.
    let clear = Clear { inner: vec![Number { inner: 7 }], _cache: None, _mark: PhantomData };
    assert_eq!(encoded(&clear), encoded(&vec![7u64]));
    let mixed = Mixed { _cache: None, kept: 1, text: 12 };
    assert_eq!(encoded(&mixed), encoded(&(1u8, "12")));
}

#[test]
fn a_client_and_a_server_can_be_shown_and_cloned() {
    let server = Server::new(Ours);
    assert_eq!(format!("{:?}", server.clone()), "ShopServer { .. }");
    fn shared<T: Clone + fmt::Debug + Send + Sync + 'static>() {}
    shared::<ShopClient>();
}
