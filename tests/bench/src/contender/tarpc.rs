//! tarpc over bincode as a contender.

use std::error::Error;

use futures_util::StreamExt as _;
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context};

use crate::work::NAME;

#[tarpc::service]
pub(crate) trait Peer {
    async fn plain(from: String, to: String, amount: u64) -> (u64, u64);
}

#[derive(Clone)]
struct Worker;

impl Peer for Worker {
    async fn plain(self, _: context::Context, _: String, _: String, amount: u64) -> (u64, u64) {
        (7, amount)
    }
}

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let mut listener = tarpc::serde_transport::tcp::listen("127.0.0.1:0", Bincode::default).await?;
    println!("{}", listener.local_addr());
    while let Some(transport) = listener.next().await {
        let config = tarpc::server::Config { pending_response_buffer: 1024 };
        let channel = BaseChannel::new(config, transport?);
        tokio::spawn(channel.execute(Worker.serve()).for_each(|response| async {
            tokio::spawn(response);
        }));
    }
    Ok(())
}

pub(crate) async fn connect(address: &str) -> Result<PeerClient, Box<dyn Error>> {
    let transport = tarpc::serde_transport::tcp::connect(address, Bincode::default).await?;
    let mut config = client::Config::default();
    config.max_in_flight_requests = 4096;
    config.pending_request_buffer = 4096;
    Ok(PeerClient::new(config, transport).spawn())
}

pub(crate) async fn call(client: &PeerClient) {
    let answer = client.plain(context::current(), NAME.to_owned(), NAME.to_owned(), 100).await;
    std::hint::black_box(answer.expect("the server answers"));
}
