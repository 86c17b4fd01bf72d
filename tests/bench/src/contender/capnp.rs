//! capnp-rpc as a contender.

use std::error::Error;
use std::rc::Rc;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use capnp_rpc::{RpcSystem, new_client};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

use crate::work::NAME;
use crate::work_capnp::work;

struct Worker;

impl work::Server for Worker {
    async fn plain(
        self: Rc<Self>,
        parameters: work::PlainParams,
        mut results: work::PlainResults,
    ) -> Result<(), capnp::Error> {
        let transfer = parameters.get()?;
        let names = (transfer.get_from()?.to_string()?, transfer.get_to()?.to_string()?);
        std::hint::black_box(names);
        let mut receipt = results.get();
        receipt.set_id(7);
        receipt.set_balance(transfer.get_amount());
        Ok(())
    }
}

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let served: work::Client = new_client(Worker);
    let connections = async {
        loop {
            let (stream, _) = listener.accept().await?;
            let network = network(stream, Side::Server)?;
            let system = RpcSystem::new(Box::new(network), Some(served.clone().client));
            tokio::task::spawn_local(system);
        }
    };
    tokio::task::LocalSet::new().run_until(connections).await
}

pub(crate) async fn connect(address: &str) -> Result<work::Client, Box<dyn Error>> {
    let network = network(TcpStream::connect(address).await?, Side::Client)?;
    let mut system = RpcSystem::new(Box::new(network), None);
    let client = system.bootstrap(Side::Server);
    tokio::task::spawn_local(system);
    Ok(client)
}

fn network(
    stream: TcpStream,
    side: Side,
) -> Result<VatNetwork<impl futures_util::AsyncRead + Unpin>, Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    Ok(VatNetwork::new(
        futures_util::io::BufReader::new(reading.compat()),
        futures_util::io::BufWriter::new(writing.compat_write()),
        side,
        Default::default(),
    ))
}

pub(crate) async fn call(client: &work::Client) {
    let mut request = client.plain_request();
    let mut transfer = request.get();
    transfer.set_from(NAME);
    transfer.set_to(NAME);
    transfer.set_amount(100);
    let response = request.send().promise.await.expect("the server answers");
    let receipt = response.get().expect("a receipt");
    std::hint::black_box((receipt.get_id(), receipt.get_balance()));
}
