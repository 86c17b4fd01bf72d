//! One connection on the scripted network: cuts its two streams into frames and does with each what
//! the script says.

use std::sync::Arc;

use rpc::testing::{Direction, cut};
use rpc::transport::Io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, watch};

use super::frame::Fate;
use super::network::Network;

/// What a direction holds before its writer waits: more than any scenario sends at once.
const BUFFER_BYTES: usize = 4 << 20;
/// The largest frame of any scenario.
const MAX_FRAME: usize = 8 << 20;

/// One connection between a client and a server.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: String,
    pub(super) server: String,
    pub(super) number: u32,
    to_client: Mutex<Option<WriteHalf<DuplexStream>>>,
    to_server: Mutex<Option<WriteHalf<DuplexStream>>>,
    is_cut: watch::Sender<bool>,
}

impl Connection {
    /// A connection, and its two ends: the client's and the server's.
    pub(super) fn open(
        network: &Network,
        client: &str,
        server: &str,
        number: u32,
    ) -> (Arc<Connection>, Box<dyn Io>, Box<dyn Io>) {
        let (near, from_client) = tokio::io::duplex(BUFFER_BYTES);
        let (far, from_server) = tokio::io::duplex(BUFFER_BYTES);
        let (from_client, to_client) = tokio::io::split(from_client);
        let (from_server, to_server) = tokio::io::split(from_server);
        let connection = Arc::new(Connection {
            client: client.to_owned(),
            server: server.to_owned(),
            number,
            to_client: Mutex::new(Some(to_client)),
            to_server: Mutex::new(Some(to_server)),
            is_cut: watch::Sender::new(false),
        });
        for (direction, from) in
            [(Direction::ToServer, from_client), (Direction::ToClient, from_server)]
        {
            let relay =
                Relay { network: network.clone(), connection: Arc::clone(&connection), direction };
            tokio::spawn(relay.run(from));
        }
        (connection, Box::new(near), Box::new(far))
    }

    /// Breaks it. What has arrived can still be read.
    pub(super) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets bytes arrive, if the connection still stands.
    pub(super) async fn write(&self, direction: Direction, bytes: &[u8]) {
        let mut end = self.end(direction).lock().await;
        if let Some(half) = end.as_mut()
            && half.write_all(bytes).await.is_err()
        {
            *end = None;
        }
    }

    /// Says that nothing more will arrive.
    async fn close(&self, direction: Direction) {
        if let Some(mut half) = self.end(direction).lock().await.take() {
            let _is_gone = half.shutdown().await;
        }
    }

    fn end(&self, direction: Direction) -> &Mutex<Option<WriteHalf<DuplexStream>>> {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// One direction of a connection.
struct Relay {
    network: Network,
    connection: Arc<Connection>,
    direction: Direction,
}

impl Relay {
    async fn run(self, mut from: ReadHalf<DuplexStream>) {
        let mut is_cut = self.connection.is_cut.subscribe();
        tokio::select! {
            biased;
            _ = is_cut.wait_for(|is_cut| *is_cut) => {}
            () = self.relay(&mut from) => {}
        }
        self.connection.close(self.direction).await;
    }

    async fn relay(&self, from: &mut ReadHalf<DuplexStream>) {
        let mut buffer = Vec::new();
        loop {
            let end = from.read_buf(&mut buffer).await.unwrap_or(0) == 0;
            self.network.while_frozen(&self.connection.server).await;
            while let Some(frame) = cut(&mut buffer, MAX_FRAME).expect("both ends send frames") {
                self.network.while_frozen(&self.connection.server).await;
                self.pass(frame).await;
            }
            if end {
                return;
            }
        }
    }

    async fn pass(&self, frame: Vec<u8>) {
        let (connection, direction) = (&self.connection, self.direction);
        match self.network.judge(connection, direction, &frame) {
            Fate::Deliver => connection.write(direction, &frame).await,
            Fate::Lose => {}
            Fate::Delay(by) => {
                let connection = Arc::clone(connection);
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    connection.write(direction, &frame).await;
                });
            }
            Fate::Hold => self.network.hold(connection, direction, frame),
            Fate::Twice => {
                connection.write(direction, &frame).await;
                connection.write(direction, &frame).await;
            }
            Fate::CutBefore => connection.cut(),
            Fate::CutInside => {
                connection.write(direction, &frame[..frame.len() / 2]).await;
                connection.cut();
            }
            Fate::CutAfter => {
                connection.write(direction, &frame).await;
                connection.cut();
            }
        }
        if *connection.is_cut.borrow() {
            // Nothing that was sent behind it arrives.
            std::future::pending::<()>().await;
        }
    }
}
