//! TLS for `bank serve` and `bank call`: who this end is, and whom it believes.

use std::net::SocketAddr;

use rpc::Server;
use rpc::client::ClientBuilder;
use rpc::server::ServerBuilder;
use rpc::service::Service;

use crate::cli::TlsFiles;
use crate::failure::Failure;

/// Listens on this address, over TLS if there are files for it.
pub(crate) async fn listen<S: Service>(
    server: ServerBuilder<S>,
    address: SocketAddr,
    files: Option<TlsFiles<'_>>,
) -> Result<Server<S>, Failure> {
    match files {
        None => server.bind(address).await.map_err(Failure::unusable),
        Some(files) => listen_over_tls(server, address, files).await,
    }
}

#[cfg(feature = "tls")]
async fn listen_over_tls<S: Service>(
    server: ServerBuilder<S>,
    address: SocketAddr,
    files: TlsFiles<'_>,
) -> Result<Server<S>, Failure> {
    use rpc::transport::{TcpAcceptor, TlsAcceptor};

    let tls = open(files)?;
    let acceptor = TcpAcceptor::bind(address).await.map_err(|error| {
        Failure::unusable(format!(
            "cannot listen on {address}: {error}; choose a free address of this machine"
        ))
    })?;
    Ok(server.listen_on(TlsAcceptor::new(acceptor, tls)))
}

/// Has a client connect over TLS, to servers whose certificates name `expected` or else their address.
#[cfg(feature = "tls")]
pub(crate) fn connect_over(
    client: ClientBuilder,
    files: TlsFiles<'_>,
    expected: Option<&str>,
) -> Result<ClientBuilder, Failure> {
    use rpc::transport::{Tcp, TlsConnector};

    let tls = open(files)?;
    tls.identity().map_err(Failure::unusable)?;
    let connector = TlsConnector::new(Tcp, tls);
    let connector = match expected {
        Some(host) => connector.expecting(host).map_err(Failure::unusable)?,
        None => connector,
    };
    Ok(client.connector(connector))
}

#[cfg(feature = "tls")]
fn open(files: TlsFiles<'_>) -> Result<rpc::transport::Tls, Failure> {
    let TlsFiles { certificate, key, authorities } = files;
    rpc::transport::Tls::from_pem_files(certificate, key, authorities).map_err(Failure::unusable)
}

#[cfg(not(feature = "tls"))]
async fn listen_over_tls<S: Service>(
    _: ServerBuilder<S>,
    _: SocketAddr,
    _: TlsFiles<'_>,
) -> Result<Server<S>, Failure> {
    Err(is_missing())
}

/// Says what is missing.
#[cfg(not(feature = "tls"))]
pub(crate) fn connect_over(
    _: ClientBuilder,
    _: TlsFiles<'_>,
    _: Option<&str>,
) -> Result<ClientBuilder, Failure> {
    Err(is_missing())
}

#[cfg(not(feature = "tls"))]
fn is_missing() -> Failure {
    Failure::unusable("this bank was built without TLS: --features tls")
}
