//! The first frame of each side: hello, and welcome or reject.

use std::time::Duration;

use super::frame::put_frame;
use super::request::kind::HELLO;
use super::response::kind::{REJECT, WELCOME};
use super::{Reader, VERSION, WireError, varint};
use crate::id::{ClientId, Incarnation, MethodId, SessionId, SessionSecret};
use crate::schema::Fingerprint;

/// The first bytes of a hello behind its kind.
const MAGIC: [u8; 4] = *b"1rpc";

/// The largest hello or welcome, in bytes: 1,000 methods with long names fit.
pub(crate) const MAX_HANDSHAKE_FRAME: usize = 256 << 10;
/// The longest name of a service or method, in bytes.
pub(crate) const MAX_NAME: usize = 256;
/// The most methods of a service.
pub(crate) const MAX_METHODS: u64 = 4096;
/// The longest explanation of a reject, in bytes.
const MAX_MESSAGE: usize = 2048;

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) service: String,
    /// The session to go on with; `None` asks for a new one.
    pub(crate) session: Option<(SessionId, SessionSecret)>,
    /// The deadline of every request that names none.
    pub(crate) default_deadline: Duration,
    /// The largest frame that the client takes.
    pub(crate) max_frame: usize,
    /// The methods as the client knows them.
    pub(crate) methods: Vec<HelloMethod>,
}

/// One method as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HelloMethod {
    /// The number that the client will use for it.
    pub(crate) id: MethodId,
    pub(crate) name: String,
    pub(crate) fingerprint: Fingerprint,
}

/// The server's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) session: SessionId,
    pub(crate) secret: SessionSecret,
    /// How long the session lives without traffic.
    pub(crate) lease: Duration,
    /// How many calls beyond the watermark the server takes.
    pub(crate) window: u32,
    /// The largest frame that the server takes.
    pub(crate) max_frame: usize,
}

/// The server's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) reason: RejectReason,
    /// What is wrong and what to do, as text.
    pub(crate) message: String,
}

/// Why a server refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// The bytes were not a hello of this protocol.
    BadHello,
    /// The client speaks another version of the protocol.
    Version,
    /// The server serves another service.
    WrongService,
    /// The two ends disagree on a method.
    MethodMismatch,
    /// The session is closed, has expired, or was never this peer's.
    SessionClosed,
    /// A later incarnation of the client has taken over.
    Fenced,
    /// The server has as many connections or sessions as its limits allow.
    Overloaded,
    /// The server is being shut down.
    ShuttingDown,
    /// The server's store cannot open a session now.
    StoreUnavailable,
    /// A frame after the handshake was not this protocol.
    Misbehaved,
}

impl RejectReason {
    const ALL: [RejectReason; 10] = [
        RejectReason::BadHello,
        RejectReason::Version,
        RejectReason::WrongService,
        RejectReason::MethodMismatch,
        RejectReason::SessionClosed,
        RejectReason::Fenced,
        RejectReason::Overloaded,
        RejectReason::ShuttingDown,
        RejectReason::StoreUnavailable,
        RejectReason::Misbehaved,
    ];

    /// Whether connecting again later may fare better.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            RejectReason::Overloaded | RejectReason::ShuttingDown | RejectReason::StoreUnavailable
        )
    }

    fn code(self) -> u8 {
        RejectReason::ALL.iter().position(|&reason| reason == self).expect("ALL names all") as u8
    }
}

impl Hello {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, |out| {
            out.push(HELLO);
            out.extend_from_slice(&MAGIC);
            out.push(VERSION);
            varint::put_bytes(self.service.as_bytes(), out);
            put_session(self.session, out);
            varint::put(millis(self.default_deadline), out);
            varint::put(self.max_frame as u64, out);
            varint::put(self.methods.len() as u64, out);
            for method in &self.methods {
                varint::put(u64::from(method.id.0), out);
                varint::put_bytes(method.name.as_bytes(), out);
                out.extend_from_slice(&method.fingerprint.0.to_le_bytes());
            }
        });
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Hello, WireError> {
        let mut reader = Reader::new(body);
        if reader.byte("frame kind")? != HELLO || reader.array("magic").ok() != Some(MAGIC) {
            return Err(WireError::NotOurProtocol);
        }
        if reader.byte("version")? != VERSION {
            return Err(WireError::UnknownValue("version"));
        }
        let service = reader.text(MAX_NAME, "service name")?.to_owned();
        let session = read_session(&mut reader)?;
        let default_deadline = Duration::from_millis(reader.u64("deadline")?);
        let max_frame = read_size(&mut reader)?;
        let size = reader.u64("methods")?;
        if size > MAX_METHODS {
            return Err(WireError::LimitExceeded { what: "methods", size, limit: MAX_METHODS });
        }
        // Grows with what is really there, not with what the count claims.
        let mut methods = Vec::new();
        for _ in 0..size {
            let id = MethodId(reader.u16("method")?);
            if u64::from(id.0) >= MAX_METHODS {
                return Err(WireError::UnknownValue("method"));
            }
            let name = reader.text(MAX_NAME, "method name")?.to_owned();
            let fingerprint = Fingerprint(u64::from_le_bytes(reader.array("fingerprint")?));
            methods.push(HelloMethod { id, name, fingerprint });
        }
        reader.end()?;
        Ok(Hello { service, session, default_deadline, max_frame, methods })
    }
}

impl Welcome {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, |out| {
            out.push(WELCOME);
            out.push(VERSION);
            put_session(Some((self.session, self.secret)), out);
            varint::put(millis(self.lease), out);
            varint::put(u64::from(self.window), out);
            varint::put(self.max_frame as u64, out);
        });
    }
}

impl Reject {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, |out| {
            out.push(REJECT);
            out.push(self.reason.code());
            let mut end = self.message.len().min(MAX_MESSAGE);
            while !self.message.is_char_boundary(end) {
                end -= 1;
            }
            varint::put_bytes(&self.message.as_bytes()[..end], out);
        });
    }

    /// Reads a reject, which may also come after the handshake, as a server's last word.
    pub(crate) fn decode(body: &[u8]) -> Result<Reject, WireError> {
        let mut reader = Reader::new(body);
        if reader.byte("frame kind")? != REJECT {
            return Err(WireError::NotOurProtocol);
        }
        let code = usize::from(reader.byte("reject reason")?);
        let reason = RejectReason::ALL.get(code).ok_or(WireError::UnknownValue("reject reason"))?;
        let message = reader.text(MAX_MESSAGE, "reject message")?.to_owned();
        reader.end()?;
        Ok(Reject { reason: *reason, message })
    }
}

/// Reads the server's first frame.
pub(crate) fn decode_reply(body: &[u8]) -> Result<Result<Welcome, Reject>, WireError> {
    if body.first() == Some(&REJECT) {
        return Reject::decode(body).map(Err);
    }
    let mut reader = Reader::new(body);
    if reader.byte("frame kind")? != WELCOME {
        return Err(WireError::NotOurProtocol);
    }
    if reader.byte("version")? != VERSION {
        return Err(WireError::UnknownValue("version"));
    }
    let (session, secret) = read_session(&mut reader)?.ok_or(WireError::UnknownValue("session"))?;
    let lease = Duration::from_millis(reader.u64("lease")?);
    let window = reader.u32("window")?;
    if window == 0 || u64::from(window) > super::ack::MAX_BITMAP_CALLS {
        return Err(WireError::UnknownValue("window"));
    }
    let max_frame = read_size(&mut reader)?;
    reader.end()?;
    Ok(Ok(Welcome { session, secret, lease, window, max_frame }))
}

fn put_session(session: Option<(SessionId, SessionSecret)>, out: &mut Vec<u8>) {
    let Some((session, secret)) = session else { return out.push(0) };
    out.push(1);
    varint::put(session.client.0, out);
    varint::put(u64::from(session.incarnation.0), out);
    out.extend_from_slice(&secret.0);
}

fn read_session(reader: &mut Reader<'_>) -> Result<Option<(SessionId, SessionSecret)>, WireError> {
    match reader.byte("session")? {
        0 => Ok(None),
        1 => {
            let client = ClientId(reader.u64("client id")?);
            let incarnation = Incarnation(reader.u32("incarnation")?);
            let secret = SessionSecret(reader.array("session secret")?);
            Ok(Some((SessionId { client, incarnation }, secret)))
        }
        _ => Err(WireError::UnknownValue("session")),
    }
}

fn read_size(reader: &mut Reader<'_>) -> Result<usize, WireError> {
    reader.u32("frame limit").map(|size| size as usize)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> (SessionId, SessionSecret) {
        let session = SessionId { client: ClientId(900), incarnation: Incarnation(2) };
        (session, SessionSecret([5; 16]))
    }

    fn body(out: &[u8]) -> &[u8] {
        let prefix = out.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        &out[prefix..]
    }

    #[test]
    fn hello_round_trips_and_never_panics() {
        let hello = Hello {
            service: "Bank".to_owned(),
            session: Some(session()),
            default_deadline: Duration::from_secs(30),
            max_frame: 1 << 20,
            methods: vec![HelloMethod {
                id: MethodId(3),
                name: "transfer".to_owned(),
                fingerprint: Fingerprint(17),
            }],
        };
        let mut out = Vec::new();
        hello.put(&mut out);
        assert_eq!(Hello::decode(body(&out)), Ok(hello));
        for cut in 0..body(&out).len() {
            assert!(Hello::decode(&body(&out)[..cut]).is_err());
        }
    }

    #[test]
    fn replies_round_trip() {
        let (session, secret) = session();
        let lease = Duration::from_secs(1800);
        let welcome = Welcome { session, secret, lease, window: 4096, max_frame: 99 };
        let mut out = Vec::new();
        welcome.put(&mut out);
        assert_eq!(decode_reply(body(&out)), Ok(Ok(welcome)));
        for reason in RejectReason::ALL {
            let reject = Reject { reason, message: "transfer differs".to_owned() };
            let mut out = Vec::new();
            reject.put(&mut out);
            assert_eq!(decode_reply(body(&out)), Ok(Err(reject)));
        }
    }

    #[test]
    fn strangers_are_recognised() {
        assert_eq!(Hello::decode(b"ET / HTTP/1.1"), Err(WireError::NotOurProtocol));
        assert_eq!(decode_reply(b"SSH-2.0"), Err(WireError::NotOurProtocol));
    }

    #[test]
    fn a_window_is_as_large_as_an_ack_can_name() {
        let most = u32::try_from(crate::wire::ack::MAX_BITMAP_CALLS).unwrap();
        for (window, fits) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            let (session, secret) = session();
            let lease = Duration::from_secs(1);
            let welcome = Welcome { session, secret, lease, window, max_frame: 1 << 20 };
            let mut out = Vec::new();
            welcome.put(&mut out);
            let decoded = decode_reply(body(&out));
            assert_eq!(decoded.is_ok(), fits, "{window}: {decoded:?}");
        }
    }

    #[test]
    fn a_service_has_as_many_methods_as_the_limit_says() {
        for (count, fits) in [(MAX_METHODS, true), (MAX_METHODS + 1, false)] {
            let method = |id: u64| HelloMethod {
                id: MethodId(id as u16),
                name: String::new(),
                fingerprint: Fingerprint(id),
            };
            let hello = Hello {
                service: "bank".to_owned(),
                session: None,
                default_deadline: Duration::from_secs(1),
                max_frame: 1 << 20,
                methods: (0..count).map(method).collect(),
            };
            let mut out = Vec::new();
            hello.put(&mut out);
            let decoded = Hello::decode(body(&out));
            assert_eq!(decoded.is_ok(), fits, "{count}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_ends_before_a_whole_letter() {
        let message = "a".repeat(MAX_MESSAGE - 1) + "é and more";
        let mut out = Vec::new();
        Reject { reason: RejectReason::Misbehaved, message }.put(&mut out);
        let decoded = Reject::decode(body(&out)).expect("it is whole");
        assert_eq!(decoded.message, "a".repeat(MAX_MESSAGE - 1));
    }

    #[test]
    fn only_trouble_of_a_server_passes() {
        let passing: Vec<_> = RejectReason::ALL.into_iter().filter(|it| it.is_passing()).collect();
        assert_eq!(
            passing,
            [RejectReason::Overloaded, RejectReason::ShuttingDown, RejectReason::StoreUnavailable]
        );
    }
}
