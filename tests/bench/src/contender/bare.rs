//! What the machine allows without tasks: the frames of `limit.rs` and its server, and a client
//! that is one loop. Nobody waits for a call; each answer is a reason to send the next request.

use std::error::Error;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::limit::{READ_BYTES, REQUEST, RESPONSE, put_request, response};
use crate::load::{Measured, histogram};
use crate::work::NAME;

/// The loop, between two runs of it.
pub(crate) struct Loop {
    stream: TcpStream,
    in_flight: usize,
}

impl Loop {
    pub(crate) async fn connect(address: &str, in_flight: usize) -> Result<Loop, Box<dyn Error>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Loop { stream, in_flight })
    }

    /// Makes calls for this long, every `every`-th one timed.
    pub(crate) async fn run(
        &mut self,
        time: Duration,
        every: u64,
    ) -> Result<Measured, Box<dyn Error>> {
        let mut waits: Histogram<u64> = histogram()?;
        let mut begun: Vec<Option<Instant>> = vec![None; self.in_flight];
        let mut output = Vec::with_capacity(self.in_flight * REQUEST);
        let mut input = vec![0; READ_BYTES];
        let start = Instant::now();
        for (slot, begun) in begun.iter_mut().enumerate() {
            *begun = Some(start);
            send(&mut output, slot as u32);
        }
        let (mut sent, mut calls, mut kept, mut over) = (self.in_flight as u64, 0, 0, false);
        while calls < sent {
            self.stream.write_all(&output).await?;
            output.clear();
            let count = self.stream.read(&mut input[kept..]).await?;
            if count == 0 {
                return Err("the server has closed the connection".into());
            }
            let end = kept + count;
            let whole = end - end % RESPONSE;
            for bytes in input[..whole].chunks_exact(RESPONSE) {
                let (slot, id, balance) = response(bytes);
                std::hint::black_box((id, balance));
                calls += 1;
                if let Some(begun) = begun[slot as usize].take() {
                    waits.saturating_record(begun.elapsed().as_nanos() as u64);
                    over |= start.elapsed() >= time;
                }
                if !over {
                    if sent.is_multiple_of(every) {
                        begun[slot as usize] = Some(Instant::now());
                    }
                    sent += 1;
                    send(&mut output, slot);
                }
            }
            input.copy_within(whole..end, 0);
            kept = end - whole;
        }
        Ok(Measured { calls, waits, seconds: start.elapsed().as_secs_f64() })
    }
}

fn send(output: &mut Vec<u8>, slot: u32) {
    let (from, to) = (NAME.to_owned(), NAME.to_owned());
    put_request(output, slot, [&from, &to]);
}
