//! Certificates that are made for a test and gone with it, so that none expires in the sources and no key
//! lies in them.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
#[cfg(feature = "tls")]
use rpc::transport::{Tls, TlsError};

/// Who issues certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// A name in a certificate.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// Of a host.
    Dns(&'a str),
    /// Of a host that is called by its address.
    Ip(IpAddr),
    /// Such as a SPIFFE id.
    Uri(&'a str),
}

impl Authority {
    /// One of its own.
    ///
    /// # Panics
    /// If the machine has no random numbers.
    #[must_use]
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("there are random numbers");
        Authority(CertifiedIssuer::self_signed(params, key).expect("nothing odd is in it"))
    }

    /// What vouches for it, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with these names.
    ///
    /// # Panics
    /// If one cannot stand in a certificate.
    #[must_use]
    pub fn issue(&self, names: &[Name<'_>]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// As [`issue`](Authority::issue), of no more use since 2020.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn issue_expired(&self, names: &[Name<'_>]) -> Issued {
        self.issue_with(names, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))
    }

    /// As [`issue`](Authority::issue), for servers only.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn issue_for_servers(&self, names: &[Name<'_>]) -> Issued {
        self.issue_with(names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    /// An end with this one name, which believes this authority.
    ///
    /// # Panics
    /// As [`issue`](Authority::issue).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn end(&self, name: &str) -> Tls {
        self.issue(&[Name::Dns(name)]).believing(self).expect("it is whole")
    }

    fn issue_with(
        &self,
        names: &[Name<'_>],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "nobody looks at this");
        params.subject_alt_names.extend(names.iter().map(|name| match name {
            Name::Dns(name) => SanType::DnsName((*name).try_into().expect("it is ASCII")),
            Name::Ip(address) => SanType::IpAddress(*address),
            Name::Uri(uri) => SanType::URI((*uri).try_into().expect("it is ASCII")),
        }));
        change(&mut params);
        let key = KeyPair::generate().expect("there are random numbers");
        let certificate = params.signed_by(&key, &self.0).expect("nothing odd is in it");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

#[cfg(feature = "tls")]
impl Issued {
    /// An end with this certificate that believes an authority.
    ///
    /// # Errors
    /// If what was issued is of no use.
    pub fn believing(&self, authority: &Authority) -> Result<Tls, TlsError> {
        Tls::from_pem(self.certificate.as_bytes(), self.key.as_bytes(), authority.pem().as_bytes())
    }
}
