//! The client's side.

use std::fmt;
use std::io;

use tokio_rustls::rustls::pki_types::ServerName;

use super::{Tls, TlsError};
use crate::transport::{Connector, Io, Tcp, TransportFuture};

/// Connects over TLS, through another connector: mostly [`Tcp`].
///
/// The server's certificate must come from one of the authorities of the [`Tls`], and name the host of the
/// address, or the one that it was [told to expect](TlsConnector::expecting). This end's own certificate must
/// name it, as [`TlsAcceptor`](super::TlsAcceptor) says.
///
/// See [`Tls`] for an example.
#[derive(Debug)]
pub struct TlsConnector<C = Tcp> {
    connector: C,
    tls: Tls,
    expected: Option<ServerName<'static>>,
}

/// No TLS with a server.
#[derive(Debug)]
struct ConnectError {
    host: String,
    source: io::Error,
}

impl<C: Connector> TlsConnector<C> {
    /// TLS over what `connector` connects.
    pub fn new(connector: C, tls: Tls) -> TlsConnector<C> {
        TlsConnector { connector, tls, expected: None }
    }

    /// Expects this host in the certificates of all servers, whatever their addresses: for servers that are
    /// reached by IP addresses or through a proxy, and have one name.
    ///
    /// # Errors
    /// If it is neither a DNS name nor an IP address.
    pub fn expecting(mut self, host: &str) -> Result<TlsConnector<C>, TlsError> {
        self.expected = Some(server_name(host)?);
        Ok(self)
    }
}

impl<C: Connector> Connector for TlsConnector<C> {
    fn connect<'a>(&'a self, address: &'a str) -> TransportFuture<'a, Box<dyn Io>> {
        Box::pin(async move {
            let host = match &self.expected {
                Some(expected) => expected.clone(),
                None => server_name(host_of(address)).map_err(invalid)?,
            };
            let ends = self.tls.ends();
            // The server would only hang up, and could not say why.
            if let Err(error) = &ends.identity {
                return Err(invalid(format!("this client cannot show who it is: {error}")));
            }
            let io = self.connector.connect(address).await?;
            let named = host.to_str().into_owned();
            match tokio_rustls::TlsConnector::from(ends.client.clone()).connect(host, io).await {
                Ok(io) => Ok(Box::new(io) as Box<dyn Io>),
                Err(source) => {
                    Err(io::Error::new(source.kind(), ConnectError { host: named, source }))
                }
            }
        })
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| TlsError::ServerName { name: host.to_owned() })
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// The host of an address with or without a port; of an IPv6 address without its brackets.
fn host_of(address: &str) -> &str {
    if let Some((host, _)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match address.rsplit_once(':') {
        // One without brackets has no port.
        Some((host, _)) if !host.contains(':') => host,
        _ => address,
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnectError { host, source } = self;
        write!(
            f,
            "no TLS: {source}; the server's certificate must name `{host}` and come from one of this end's \
             authorities, and this end's from one of the server's"
        )
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address() {
        let hosts = [
            ("bank.example:4000", "bank.example"),
            ("bank-1", "bank-1"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:4000", "::1"),
            ("[::1]", "::1"),
            ("fe80::1", "fe80::1"),
        ];
        for (address, host) in hosts {
            assert_eq!(host_of(address), host);
            server_name(host).unwrap();
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_what_to_give_instead() {
        for name in ["", "a b", "héllo", "-x"] {
            let error = server_name(name).unwrap_err();
            assert!(error.to_string().contains("give the DNS name"), "{error}");
        }
    }
}
