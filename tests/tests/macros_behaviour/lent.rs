//! Arguments that are lent: `&str`, `&[T]` and `&T` in a service, from the caller to the business.

use std::fmt;
use std::sync::Arc;

use rpc::client::Stub;
use rpc::service::{NoError, Service};
use rpc::store::MemoryStore;
use rpc::transport::InProcess;
use rpc::{Client, Server, Tx, View};
use serde::{Deserialize, Serialize};

/// The key of a [`Shelf`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, rpc::Schema)]
pub(crate) struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Titles.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, rpc::Document, rpc::Schema)]
#[document(key = Place)]
pub(crate) struct Shelf {
    titles: Vec<String>,
}

/// A service that is lent all it needs.
#[rpc::service(name = "library")]
pub(crate) trait Library {
    /// A write with an anchor that is lent; says how many titles there are.
    async fn add(&self, tx: &mut Tx, #[anchor] place: &Place, titles: &[String]) -> usize;
    /// A read.
    async fn has(&self, view: &View, place: &Place, title: &str) -> bool;
    /// A method without documents, which some calls make wait.
    async fn join(&self, first: &str, wait: bool, rest: &Option<String>)
    -> Result<String, NoError>;
}

/// The same service, which owns all that travels.
#[rpc::service(name = "library")]
pub(crate) trait Owning {
    /// As [`Library::add`].
    async fn add(&self, tx: &mut Tx, #[anchor] place: Place, titles: Vec<String>) -> usize;
    /// As [`Library::has`].
    async fn has(&self, view: &View, place: Place, title: String) -> bool;
    /// As [`Library::join`].
    async fn join(
        &self,
        first: String,
        wait: bool,
        rest: Option<String>,
    ) -> Result<String, NoError>;
}

struct Ours;

impl Library for Ours {
    async fn add(&self, tx: &mut Tx, place: &Place, titles: &[String]) -> usize {
        let mut shelf = tx.get(place).await.unwrap_or_default();
        shelf.titles.extend_from_slice(titles);
        tx.put(place, &shelf);
        shelf.titles.len()
    }

    async fn has(&self, view: &View, place: &Place, title: &str) -> bool {
        let shelf = view.get(place).await.unwrap_or_default();
        shelf.titles.iter().any(|known| known == title)
    }

    async fn join(
        &self,
        first: &str,
        wait: bool,
        rest: &Option<String>,
    ) -> Result<String, NoError> {
        if wait {
            tokio::task::yield_now().await;
        }
        Ok(format!("{first}{}", rest.as_deref().unwrap_or("")))
    }
}

async fn connect<C: Stub>() -> C {
    let network = InProcess::new();
    let listener = network.listen("server");
    let server = Server::builder(LibraryServer::new(Ours), Arc::new(MemoryStore::new()));
    tokio::spawn(server.listen_on(listener).serve());
    Client::builder().connector(network).connect(["server"]).await.unwrap()
}

/// Strings that lie in their value on the server, and those that do not.
fn strings() -> impl Iterator<Item = String> {
    [0, 1, 22, 23, 24, 5000].into_iter().map(|length| "ß".repeat(length))
}

#[tokio::test]
async fn callers_keep_what_they_lend() {
    let library: LibraryClient = connect().await;
    let place = Place("a1".to_owned());
    let titles: Vec<String> = strings().collect();
    assert_eq!(library.add(&place, &titles).await.unwrap(), titles.len());
    assert_eq!(library.add(&place, &titles[..1]).await.unwrap(), titles.len() + 1);
    for title in &titles {
        assert!(library.has(&place, title).await.unwrap(), "{}", title.len());
    }
    assert!(!library.has(&place, "Moby-Dick").await.unwrap());
    assert!(!library.has(&Place("b2".to_owned()), &titles[1]).await.unwrap());
}

#[tokio::test]
async fn a_method_that_waits_still_has_what_it_was_lent() {
    let library: LibraryClient = connect().await;
    for (first, wait) in strings().flat_map(|first| [(first.clone(), false), (first, true)]) {
        let rest = Some(first.clone());
        let joined = library.join(&first, wait, &rest).await.unwrap();
        assert_eq!(joined, format!("{first}{first}"), "waits: {wait}");
    }
    // Each call has its own, whatever the others do.
    let calls = [("a", true), ("b", false), ("c", true)];
    let [a, b, c] = calls.map(|(first, wait)| library.join(first, wait, &None));
    let (a, b, c) = tokio::try_join!(a, b, c).unwrap();
    assert_eq!([a, b, c], ["a", "b", "c"]);
}

#[tokio::test]
async fn who_lends_and_who_owns_understand_each_other() {
    let (lending, owning) = (LibraryClient::schema(), OwningClient::schema());
    assert_eq!(format!("{lending:?}"), format!("{owning:?}"));
    assert_eq!(format!("{:?}", LibraryServer::<Ours>::schema()), format!("{owning:?}"));
    let library: OwningClient = connect().await;
    let place = Place("a1".to_owned());
    assert_eq!(library.add(place.clone(), strings().collect()).await.unwrap(), 6);
    assert!(library.has(place, "ß".repeat(24)).await.unwrap());
    let joined = library.join("a".to_owned(), true, Some("b".to_owned())).await;
    assert_eq!(joined.unwrap(), "ab");
}

#[tokio::test]
async fn a_lending_call_is_a_future_like_any_other() {
    let library: LibraryClient = connect().await;
    let titles = ["Emma".to_owned()];
    let place = Place("a1".to_owned());
    let add = library.add(&place, &titles).max_attempts(3).deadline(std::time::Duration::MAX);
    assert_eq!(add.await.unwrap(), 1);
    // What is moved into a task may be lent there.
    let elsewhere = tokio::spawn(async move { library.has(&place, &titles[0]).await });
    assert!(elsewhere.await.unwrap().unwrap());
}
