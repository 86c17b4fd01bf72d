//! tonic as a contender, written without its generator, which needs `protoc`.

use std::convert::Infallible;
use std::error::Error;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::work::NAME;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Transfer {
    #[prost(string, tag = "1")]
    from: String,
    #[prost(string, tag = "2")]
    to: String,
    #[prost(uint64, tag = "3")]
    amount: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Receipt {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    balance: u64,
}

#[derive(Clone)]
struct Worker;

impl NamedService for Worker {
    const NAME: &'static str = "work.Work";
}

impl UnaryService<Transfer> for Worker {
    type Response = Receipt;
    type Future = BoxFuture<Response<Receipt>, Status>;

    fn call(&mut self, request: Request<Transfer>) -> Self::Future {
        Box::pin(async move {
            let Transfer { amount, .. } = request.into_inner();
            Ok(Response::new(Receipt { id: 7, balance: amount }))
        })
    }
}

impl Service<tonic::codegen::http::Request<Body>> for Worker {
    type Response = tonic::codegen::http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::codegen::http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<Receipt, Transfer>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Worker, request).await)
        })
    }
}

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    println!("{}", incoming.local_addr()?);
    Server::builder()
        .max_concurrent_streams(4096)
        .add_service(Worker)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

pub(crate) async fn connect(address: &str) -> Result<Channel, Box<dyn Error>> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}

pub(crate) async fn call(channel: &Channel) {
    let transfer = Transfer { from: NAME.to_owned(), to: NAME.to_owned(), amount: 100 };
    let receipt = unary(channel.clone(), transfer).await.expect("the server answers");
    std::hint::black_box(receipt);
}

/// What the generator makes of a method.
async fn unary(channel: Channel, transfer: Transfer) -> Result<Receipt, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unknown(StdError::from(error).to_string()))?;
    let codec = ProstCodec::<Transfer, Receipt>::default();
    let path = PathAndQuery::from_static("/work.Work/Plain");
    Ok(grpc.unary(Request::new(transfer), path, codec).await?.into_inner())
}
