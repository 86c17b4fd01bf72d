//! A relay between a client and a server that counts the bytes of both directions: what the
//! contenders put on the wire, whatever calls they write and read with.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A relay to one server. Its threads end with the connections.
pub(crate) struct Relay {
    pub(crate) address: String,
    counted: Arc<[AtomicU64; 2]>,
}

impl Relay {
    pub(crate) fn start(server: &str) -> std::io::Result<Relay> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let counted: Arc<[AtomicU64; 2]> = Arc::default();
        let (server, count) = (server.to_owned(), Arc::clone(&counted));
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = TcpStream::connect(&server) else { return };
                for direction in 0..2 {
                    let (from, to) = match (client.try_clone(), server.try_clone()) {
                        (Ok(client), Ok(server)) if direction == 0 => (client, server),
                        (Ok(client), Ok(server)) => (server, client),
                        _ => return,
                    };
                    let count = Arc::clone(&count);
                    std::thread::spawn(move || pass(from, to, &count[direction]));
                }
            }
        });
        Ok(Relay { address, counted })
    }

    /// Bytes so far, to the server and to the client.
    pub(crate) fn counted(&self) -> [f64; 2] {
        [0, 1].map(|direction| self.counted[direction].load(Ordering::Relaxed) as f64)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut bytes = vec![0; 64 << 10];
    let _refused = to.set_nodelay(true);
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        count.fetch_add(len as u64, Ordering::Relaxed);
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    let _closed = to.shutdown(Shutdown::Write);
}
