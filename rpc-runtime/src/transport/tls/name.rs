//! The name by which a certificate identifies a client.

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::NameError;
use crate::id::Identity;

/// The one name of the certificate: its URI, as SPIFFE has it, or without URIs its DNS name, in small letters.
///
/// One only: with several, their order would say who the client is, and whoever issues the next certificate
/// need not keep it.
pub(super) fn identity_of(certificate: &CertificateDer<'_>) -> Result<Identity, NameError> {
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|error| NameError::Malformed(error.to_string()))?;
    let uris: Vec<&str> = parsed.valid_uri_names().collect();
    let name = match uris[..] {
        [] => {
            let names: Vec<&str> = parsed.valid_dns_names().collect();
            dns_name(&names)?
        }
        [uri] => uri.to_owned(),
        _ => return Err(NameError::Several(uris.len())),
    };
    match name.len() {
        // An empty name would be that of all who are not authenticated.
        0 => Err(NameError::None),
        1..=Identity::MAX_LEN => Ok(Identity::named(&name)),
        _ => Err(NameError::TooLong),
    }
}

fn dns_name(names: &[&str]) -> Result<String, NameError> {
    match names {
        [] => Err(NameError::None),
        [name] if name.starts_with('*') => Err(NameError::Wildcard((*name).to_owned())),
        [name] => Ok(name.to_ascii_lowercase()),
        _ => Err(NameError::Several(names.len())),
    }
}
