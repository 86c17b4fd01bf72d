//! Sessions stand under the name of the certificate: a renewed one goes on with them, another's does not.

use std::time::Duration;

use rpc::error::CallError;
use rpc::id::Identity;
use rpc::service::NoError;
use rpc::transport::{InProcess, NameError, Tls, TlsConnector};
use rpc::{Client, ClientConfig};
use rpc_tests::certificates::{Authority, Name};
use rpc_tests::world::{Gate, LedgerClient, Point};

use super::wire::Wire;
use super::{BANK, Bank};

/// A client with a call that runs, and that waits before its commit.
struct Interrupted {
    wire: Wire,
    tls: Tls,
    bank: Bank,
    client: LedgerClient,
    call: tokio::task::JoinHandle<Result<u64, CallError<NoError>>>,
    gate: Gate,
}

impl Interrupted {
    async fn new(authority: &Authority) -> Interrupted {
        let network = InProcess::new();
        let bank = Bank::open(network.listen(BANK), authority.end(BANK));
        let (wire, tls) = (Wire::new(&network), authority.end("teller.example"));
        let config = ClientConfig::default().seed(Some(7)).deadline(Duration::from_secs(20));
        let client: LedgerClient = Client::builder()
            .config(config)
            .connector(TlsConnector::new(wire.clone(), tls.clone()))
            .connect([BANK])
            .await
            .unwrap();
        let gate = bank.gates.close("A", "one", Point::End);
        let caller = client.clone();
        let call =
            tokio::spawn(async move { caller.deposit("alice".into(), 5, "one".into()).await });
        gate.reached().await;
        Interrupted { wire, tls, bank, client, call, gate }
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_goes_on_with_the_session() {
    let authority = Authority::new("ours");
    let it = Interrupted::new(&authority).await;
    // Another key, and the name in other letters: it is the same client.
    it.tls.replace(&authority.end("Teller.Example"));
    it.wire.cut();
    it.gate.open();
    assert_eq!(it.call.await.unwrap().unwrap(), 5);
    assert_eq!(it.wire.made(), 2);
    assert_eq!(it.client.balance("alice".into(), "after".into()).await.unwrap(), 5);
    assert_eq!(it.bank.handle.stats().committed, 1);
}

#[tokio::test(start_paused = true)]
async fn another_certificate_does_not() {
    let authority = Authority::new("ours");
    let it = Interrupted::new(&authority).await;
    it.tls.replace(&authority.end("thief.example"));
    it.wire.cut();
    it.gate.open();
    let outcome = it.call.await.unwrap();
    assert!(matches!(outcome, Err(CallError::OutcomeUnknown(..))), "{outcome:?}");
    // It has a session of its own now.
    assert_eq!(it.client.deposit("bob".into(), 1, "two".into()).await.unwrap(), 1);
}

fn identity_of(names: &[Name<'_>]) -> Result<Identity, NameError> {
    let authority = Authority::new("ours");
    authority.issue(names).believing(&authority).unwrap().identity()
}

#[test]
fn one_name_is_who_a_client_is() {
    let (uri, dns) = (Name::Uri("spiffe://bank/teller"), Name::Dns("Teller.example"));
    let named = |name| Ok(Identity::named(name));
    assert_eq!(identity_of(&[dns]), named("teller.example"));
    assert_eq!(identity_of(&[uri]), named("spiffe://bank/teller"));
    assert_eq!(identity_of(&[dns, uri, Name::Dns("b")]), named("spiffe://bank/teller"));
}

#[test]
fn none_or_several_are_nobody() {
    let (a, b) = (Name::Dns("a"), Name::Dns("b"));
    assert_eq!(identity_of(&[]), Err(NameError::None));
    assert_eq!(identity_of(&[a, b]), Err(NameError::Several(2)));
    let uris = [Name::Uri("spiffe://a"), Name::Uri("spiffe://b")];
    assert_eq!(identity_of(&[uris[0], uris[1], a]), Err(NameError::Several(2)));
    let wildcard = "*.bank.example";
    assert_eq!(identity_of(&[Name::Dns(wildcard)]), Err(NameError::Wildcard(wildcard.to_owned())));
    assert_eq!(identity_of(&[Name::Uri("")]), Err(NameError::None));
    let long = format!("spiffe://{}", "x".repeat(Identity::MAX_LEN));
    assert_eq!(identity_of(&[Name::Uri(&long)]), Err(NameError::TooLong));
}

#[test]
fn every_error_says_what_to_issue_instead() {
    let errors = [
        NameError::Malformed("bad".into()),
        NameError::None,
        NameError::Several(2),
        NameError::Wildcard("*".into()),
        NameError::TooLong,
    ];
    for error in errors {
        assert!(error.to_string().contains("issue"), "{error}");
    }
}
