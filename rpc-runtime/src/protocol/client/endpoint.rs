//! The client's picture of one server.

use std::time::Duration;

use super::rtt::Rtt;
use crate::id::{MethodId, Seq};
use crate::time::Time;
use crate::wire::frame::FrameDecoder;
use crate::wire::handshake::{MAX_HANDSHAKE_FRAME, Reject};

/// The index of a server in the client's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndpointId(pub(crate) u16);

/// Where the connection to a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not connected; the next try is at this time.
    Down { retry_at: Time },
    /// The driver connects, since this time.
    Connecting { since: Time },
    /// Connected, and waiting for another endpoint to open the session.
    AwaitingSession,
    /// The hello was sent, at this time.
    Greeting { since: Time },
    /// It has opened a session that is being written down.
    Welcomed,
    /// Calls can be sent.
    Up,
    /// The server was told, at this time, that the session is over; it will close the connection.
    Leaving { since: Time },
}

/// A server that has not answered: no new calls go there until any byte comes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    pub(super) since: Time,
    pub(super) next_probe: Time,
    pub(super) interval: Duration,
}

/// With fewer calls in flight each is measured.
const ALL_SAMPLED: u32 = 64;
/// With more, one in so many. Odd, so that callers in turn do not hide behind one another.
const SAMPLED_EVERY: u64 = 7;

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) link: Link,
    /// Tries to connect since the last success.
    pub(super) failures: u32,
    /// What was heard last when a connection failed.
    pub(super) trouble: Option<String>,
    /// The server's no, if it said one since the last success.
    pub(super) reject: Option<Reject>,
    pub(super) suspicion: Option<Suspicion>,
    /// The server has asked to be left alone.
    pub(super) draining: bool,
    pub(super) decoder: FrameDecoder,
    pub(super) out: Vec<u8>,
    /// The largest frame that the server takes.
    pub(super) max_frame: usize,
    /// Calls whose latest attempt is here.
    pub(super) in_flight: u32,
    pub(super) last_byte: Time,
    pub(super) last_sent: Time,
    /// Time-outs in a row with no byte from the server, and when the last of them was counted.
    pub(super) silent_timeouts: u32,
    pub(super) last_timeout: Time,
    /// The watermark that was sent last on this connection.
    pub(super) acked: Option<Seq>,
    /// Responses that came since something was acknowledged here, and when the first of them did.
    pub(super) unacked: u32,
    pub(super) unacked_since: Time,
    rtts: Vec<Option<Box<Rtt>>>,
}

impl Endpoint {
    pub(super) fn new(address: String) -> Endpoint {
        Endpoint {
            address,
            link: Link::Down { retry_at: Time::ZERO },
            failures: 0,
            trouble: None,
            reject: None,
            suspicion: None,
            draining: false,
            decoder: FrameDecoder::new(MAX_HANDSHAKE_FRAME),
            out: Vec::new(),
            max_frame: 0,
            in_flight: 0,
            last_byte: Time::ZERO,
            last_sent: Time::ZERO,
            silent_timeouts: 0,
            last_timeout: Time::ZERO,
            acked: None,
            unacked: 0,
            unacked_since: Time::NEVER,
            rtts: Vec::new(),
        }
    }

    /// Whether new calls may be sent there.
    #[inline]
    pub(super) fn is_usable(&self) -> bool {
        self.link == Link::Up && !self.draining && self.suspicion.is_none()
    }

    /// The bytes of a connection begin.
    pub(super) fn handle_connected(&mut self) {
        self.decoder = FrameDecoder::new(MAX_HANDSHAKE_FRAME);
        self.out.clear();
        self.draining = false;
        self.suspicion = None;
        self.silent_timeouts = 0;
        self.acked = None;
        self.unacked = 0;
        self.unacked_since = Time::NEVER;
    }

    #[inline]
    pub(super) fn rtt(&self, method: MethodId) -> Option<&Rtt> {
        self.rtts.get(usize::from(method.0))?.as_deref()
    }

    /// Whether the time that this call took is worth noting: with many calls in flight a part of
    /// them says as much as all.
    #[inline]
    pub(super) fn samples(&self, seq: Seq) -> bool {
        self.in_flight < ALL_SAMPLED || seq.0.is_multiple_of(SAMPLED_EVERY)
    }

    pub(super) fn add_rtt(&mut self, method: MethodId, micros: u64) {
        let index = usize::from(method.0);
        if self.rtts.len() <= index {
            self.rtts.resize(index + 1, None);
        }
        self.rtts[index].get_or_insert_with(|| Box::new(Rtt::new())).add(micros);
    }

    /// Everything acknowledged so far has been told.
    #[inline]
    pub(super) fn note_acked(&mut self, watermark: Seq) {
        self.acked = Some(watermark);
        self.unacked = 0;
        self.unacked_since = Time::NEVER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_many_calls_in_flight_one_in_seven_is_measured() {
        let mut endpoint = Endpoint::new(String::new());
        let measured =
            |endpoint: &Endpoint| (1..=70).filter(|seq| endpoint.samples(Seq(*seq))).count();
        for (in_flight, expected) in [(0, 70), (63, 70), (64, 10), (65, 10)] {
            endpoint.in_flight = in_flight;
            assert_eq!(measured(&endpoint), expected, "{in_flight}");
        }
    }

    #[test]
    fn each_method_is_measured_on_its_own() {
        let mut endpoint = Endpoint::new(String::new());
        endpoint.add_rtt(MethodId(1), 1_000);
        assert!(endpoint.rtt(MethodId(0)).is_none());
        assert_eq!(endpoint.rtt(MethodId(1)).and_then(Rtt::timeout), Some(3_000));
        assert!(endpoint.rtt(MethodId(2)).is_none());
    }
}
