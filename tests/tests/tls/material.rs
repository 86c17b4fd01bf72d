//! Certificates, keys and files of which nothing can be made: each error says which, and what to give instead.

use rpc::transport::{Tls, TlsError};
use rpc_tests::certificates::{Authority, Name};

fn error(certificate: &str, key: &str, authorities: &str) -> TlsError {
    Tls::from_pem(certificate.as_bytes(), key.as_bytes(), authorities.as_bytes()).unwrap_err()
}

#[test]
fn what_is_missing_is_named() {
    let authority = Authority::new("ours");
    let issued = authority.issue(&[Name::Dns("teller")]);
    let (certificate, key, ours) = (&issued.certificate, &issued.key, &authority.pem());
    let found = error("", key, ours);
    assert!(
        matches!(&found, TlsError::NoCertificate { place } if place == "the given certificate")
    );
    let found = error(certificate, "", ours);
    assert!(matches!(&found, TlsError::NoKey { place } if place == "the given key"));
    let found = error(certificate, certificate, ours);
    assert!(matches!(found, TlsError::NoKey { .. }), "a certificate is no key");
    let found = error(certificate, key, "");
    let TlsError::NoCertificate { place } = &found else { panic!("{found:?}") };
    assert_eq!(place, "the given list of authorities");
    assert!(found.to_string().contains("BEGIN CERTIFICATE"), "{found}");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let authority = Authority::new("ours");
    let [one, other] = [(); 2].map(|()| authority.issue(&[Name::Dns("teller")]));
    let found = error(&one.certificate, &other.key, &authority.pem());
    assert!(matches!(found, TlsError::Certificate { .. }), "{found:?}");
    assert!(found.to_string().contains("that of the key"), "{found}");
}

#[test]
fn what_is_damaged_is_refused() {
    let authority = Authority::new("ours");
    let issued = authority.issue(&[Name::Dns("teller")]);
    let (certificate, key, ours) = (&issued.certificate, &issued.key, &authority.pem());
    let cut_off = &certificate[..certificate.len() / 2];
    assert!(matches!(error(cut_off, key, ours), TlsError::Pem { .. }));
    // PEM, and no certificate.
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(error(nonsense, key, ours), TlsError::Certificate { .. }));
    assert!(matches!(error(certificate, key, nonsense), TlsError::Authority { .. }));
}

#[test]
fn files_are_read_and_named_in_errors() {
    let authority = Authority::new("ours");
    let issued = authority.issue(&[Name::Dns("teller")]);
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = write("teller.pem", &issued.certificate);
    let key = write("teller.key", &issued.key);
    let authorities = write("authorities.pem", &(authority.pem() + &Authority::new("new").pem()));
    let tls = Tls::from_pem_files(&certificate, &key, &authorities).unwrap();
    assert_eq!(tls.identity().unwrap().name(), "teller");
    let missing = directory.path().join("missing.pem");
    let found = Tls::from_pem_files(&certificate, &missing, &authorities).unwrap_err();
    assert!(matches!(found, TlsError::Read { .. }), "{found:?}");
    assert!(found.to_string().contains("missing.pem"), "{found}");
    let found = Tls::from_pem_files(&certificate, &authorities, &authorities).unwrap_err();
    assert!(found.to_string().contains("authorities.pem holds no private key"), "{found}");
}

#[test]
fn keys_are_not_printed() {
    let authority = Authority::new("ours");
    let issued = authority.issue(&[Name::Dns("teller")]);
    let tls = issued.believing(&authority).unwrap();
    let secret: String = issued.key.lines().nth(1).unwrap().chars().take(20).collect();
    let printed = format!("{tls:?}");
    assert!(printed.contains("teller") && !printed.contains(&secret), "{printed}");
    // Nor where the key is damaged.
    let damaged = issued.key.replace("BEGIN PRIVATE KEY", "BEGIN PRIVATE");
    let found = error(&issued.certificate, &damaged, &authority.pem());
    let printed = format!("{found} {found:?}");
    assert!(!printed.contains(&secret), "{printed}");
}
