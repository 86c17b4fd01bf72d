//! volo-thrift as a contender, with many calls on one connection.

use std::error::Error;
use std::net::SocketAddr;

use pilota::FastStr;
use volo_thrift::ServerError;

use crate::work::NAME;
use crate::work_thrift::volo_gen::work::{
    Receipt, Transfer, Work, WorkClient, WorkClientBuilder, WorkServer,
};

struct Worker;

impl Work for Worker {
    async fn plain(&self, transfer: Transfer) -> Result<Receipt, ServerError> {
        Ok(Receipt { id: 7, balance: transfer.amount })
    }
}

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let incoming = volo::net::incoming::DefaultIncoming::from(listener);
    WorkServer::new(Worker)
        .multiplex(true)
        .run(incoming)
        .await
        .map_err(|error| error.to_string())?;
    Ok(())
}

pub(crate) fn connect(address: &str) -> Result<WorkClient, Box<dyn Error>> {
    let address: SocketAddr = address.parse()?;
    Ok(WorkClientBuilder::new("work").address(address).multiplex(true).build())
}

pub(crate) async fn call(client: &WorkClient) {
    let name = || FastStr::from_string(NAME.to_owned());
    let transfer = Transfer { from: name(), to: name(), amount: 100 };
    std::hint::black_box(client.plain(transfer).await.expect("the server answers"));
}
